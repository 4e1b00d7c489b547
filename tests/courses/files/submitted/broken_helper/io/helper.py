def double(:
