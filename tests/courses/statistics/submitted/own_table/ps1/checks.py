close = print
