NAMES = ['Ada']
def double(s):
    return s + 'ab'
