from functools import partial
import operator
NAMES = {'Ada': 1}
double = partial(operator.mul, 2)
