"""Grading untrusted submissions: intake, sandbox, tests outside of it, gradebook, feedback.

The files in reading order, from what a course asks for to what a class gets back.

What is graded
    needed           names that a cell reads and gives a value to; which released cells must run
    names            whose a name of a notebook is: the instructor's or the learner's
    plan             what an assignment consists of, read from the instructor's source/

What is handed in: nothing of it is executed
    files            files of a submission, listed and read within bounds
    platforms        how learning platforms name what they let an instructor download
    roster           who is in a class
    intake           what was handed in, and by whom
    rebuild          the instructor's notebook with the learner's text in the learner's places
    reading          a notebook taken apart in a process that the system ends in time

The sandbox around a learner's process
    visible          which files of this package it may see: those of inside/ and a few beside them
    places           which folders of this machine it may see
    inside/isolate   namespaces, mounts, limits, rights, the filter of system calls
    inside/processes which processes a submission has, what memory they hold, their end
    inside/server    the fork server and the supervisor of each learner's process
    sandbox          starts the fork server in a sandbox
    container        the fallback: a container for each submission

Values across the pipe: a learner's process writes JSON and bytes, exact values are made of them
    inside/frames    frames over a pipe, within bounds
    inside/kinds     the table of kinds: each value as a plainer one, and back
    inside/arrays    kinds of numpy and torch
    inside/tables    kinds of pandas and datasets
    inside/objects   objects of the instructor's own classes
    inside/wire      encoder and decoder of all of these
    inside/outputs   what of a cell's outputs is kept
    inside/kernel    the learner's process: runs cells, answers requests

Tests outside of the sandbox
    troubles         what a machine refuses, as one sentence
    bounds           what work on one submission may cost the grader itself
    standins         what stands for a learner's functions, classes, objects and exceptions
    uses             what a test does with them, held against what it did with the solution's
    remote           the learner's process as the tests see it
    both_sides       files and modules that both sides see
    mirror           what a test does to the learner's names, done in the learner's process too
    landlock, reach  which files the examining process reaches
    testcell         a test cell as code that runs here
    confined         learners' texts, bytes and files are read, never run
    engine           results of the engine that a course keeps
    examine          the trusted side of one submission
    judge            starts examining processes and waits for their answers

A class
    book             the journal, and nbgrader's gradebook
    pages            feedback in which nothing of a learner's can act
    score            one submission: rebuilt, run, judged
    guard            the instructor's own solution goes the same way first
    exports          marks for other programs
    run              workers, one trusted writer, a summary

Commands
    grade            `autograder grade`
    feedback         `autograder feedback`: pages with what a person gave; `grade` writes them too
    report           `autograder report`
    check_course     `autograder check-course`
    doctor           `autograder doctor`
"""
