"""What runs in the sandbox beside a submission: the server that forks it, its kernel, its end of the wire.

A submission sees every file of this folder, and nothing here knows of tests, keys or gradebooks.
"""
