NAMES = ('Ada',)
