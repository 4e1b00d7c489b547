"""The documentation as a site: `make site` writes it into build/site, offline, from the repository.

pages       a page: its text, its address, its frame; links from file to file become links from page to page
reference   the public names of rslib from their docstrings, in the order of docs/architecture.md
results     docs/results/*.json as tables
notebooks   the notebooks as students get them, with what the solved ones show
"""
