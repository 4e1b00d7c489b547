# %% given
import re

NUMBER = r"-?\$?\d[\d,]*(?:\.\d+)?"
MARK = r"the answer is|answer:|####"


def last_line(response):
    lines = [line for line in response.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def value(text):
    return float(text.replace(",", "").replace("$", ""))


def behind(line):
    parts = re.split(MARK, line, flags=re.IGNORECASE)
    return parts[-1] if len(parts) > 1 else ""


# %% correct: split at the marker, find all numbers
def check_answer(response, reference):
    numbers = re.findall(NUMBER, behind(last_line(response)))
    return len(numbers) == 1 and value(numbers[0]) == value(reference)


# %% correct: one pattern for the whole line
def check_answer(response, reference):
    pattern = rf".*(?:{MARK})[^\d-]*({NUMBER})[^\d]*"
    match = re.fullmatch(pattern, last_line(response).strip(), re.IGNORECASE)
    return bool(match) and value(match.group(1)) == value(reference)


# %% correct: without regular expressions
def check_answer(response, reference):
    line = last_line(response).lower()
    places = [line.find(mark) + len(mark) for mark in ("the answer is", "answer:", "####") if mark in line]
    if not places:
        return False
    numbers = []
    for word in line[max(places) :].split():
        word = word.strip(".,;:!?()").replace("$", "").replace(",", "")
        try:
            numbers.append(float(word))
        except ValueError:
            pass
    return numbers == [float(reference.replace(",", ""))]


# %% correct: decimals, and 1 or 0 for True or False
def check_answer(response, reference):
    from decimal import Decimal

    found = [
        Decimal(x.replace(",", "").replace("$", "")) for x in re.findall(NUMBER, behind(last_line(response)))
    ]
    return int(found == [Decimal(reference.replace(",", ""))])


# %% correct: numpy's truth
def check_answer(response, reference):
    import numpy as np

    numbers = np.array([value(x) for x in re.findall(NUMBER, behind(last_line(response)))])
    return np.bool_(numbers.size == 1 and np.isclose(numbers, value(reference), atol=1e-6, rtol=0).all())


# %% wrong: always true | idea: accepts another | fails at: refuses other answers
def check_answer(response, reference):
    return True


# %% wrong: always false | idea: plain | fails at: accepts every form
def check_answer(response, reference):
    return False


# %% wrong: a substring of the last line | idea: text | fails at: compares values
def check_answer(response, reference):
    return reference in behind(last_line(response))


# %% wrong: any number of the last line | idea: several | fails at: refuses several numbers | points: 1
def check_answer(response, reference):
    line = behind(last_line(response))
    return value(reference) in [value(x) for x in re.findall(NUMBER, line)]


# %% wrong: the first number behind the marker | idea: several | fails at: refuses several numbers | points: 1
def check_answer(response, reference):
    numbers = re.findall(NUMBER, behind(last_line(response)))
    return bool(numbers) and value(numbers[0]) == value(reference)


# %% wrong: the last number behind the marker | idea: several | fails at: refuses several numbers | points: 1
def check_answer(response, reference):
    numbers = re.findall(NUMBER, behind(last_line(response)))
    return bool(numbers) and value(numbers[-1]) == value(reference)


# %% wrong: the first line with a marker | idea: mentioned | fails at: refuses other answers | points: 1
def check_answer(response, reference):
    for line in response.splitlines():
        numbers = re.findall(NUMBER, behind(line))
        if numbers:
            return len(numbers) == 1 and value(numbers[0]) == value(reference)
    return False


# %% wrong: any number of the response | idea: accepts another | fails at: refuses other answers
def check_answer(response, reference):
    return bool(re.findall(NUMBER, response))


# %% wrong: the last number, marker or not | idea: several | fails at: refuses several numbers | points: 1
def check_answer(response, reference):
    numbers = re.findall(NUMBER, last_line(response))
    return bool(numbers) and value(numbers[-1]) == value(reference)


# %% wrong: capital letters | idea: other marker | fails at: accepts every form | points: 1
def check_answer(response, reference):
    parts = re.split("The answer is|Answer:|####", last_line(response))
    numbers = re.findall(NUMBER, parts[-1]) if len(parts) > 1 else []
    return len(numbers) == 1 and value(numbers[0]) == value(reference)


# %% wrong: texts are compared | idea: text | fails at: compares values | points: 1
def check_answer(response, reference):
    numbers = re.findall(NUMBER, behind(last_line(response)))
    return len(numbers) == 1 and numbers[0].lstrip("$") == reference


# %% wrong: the minus is lost | idea: sign | fails at: compares values
def check_answer(response, reference):
    numbers = re.findall(r"\d[\d,]*(?:\.\d+)?", behind(last_line(response)))
    return len(numbers) == 1 and value(numbers[0]) == value(reference)


# %% wrong: whole numbers only | idea: text | fails at: compares values
def check_answer(response, reference):
    numbers = re.findall(r"-?\d+", behind(last_line(response)))
    return bool(numbers) and int(numbers[0]) == int(float(reference.replace(",", "")))


# %% wrong: an empty response raises | fails at: runs | points: 1
def check_answer(response, reference):
    line = response.strip().splitlines()[-1]
    numbers = re.findall(NUMBER, behind(line))
    return len(numbers) == 1 and value(numbers[0]) == value(reference)


# %% wrong: nothing but the number may follow | idea: unit | fails at: accepts every form | points: 1
def check_answer(response, reference):
    text = behind(last_line(response)).strip().rstrip(".")
    return re.fullmatch(NUMBER, text) is not None and value(text) == value(reference)


# %% wrong: one number is enough | idea: no marker | fails at: refuses other answers | points: 1
def check_answer(response, reference):
    line = last_line(response)
    numbers = re.findall(NUMBER, behind(line) or line)
    return len(numbers) == 1 and value(numbers[0]) == value(reference)


# %% wrong: the last line, though it is blank | idea: blank lines | fails at: accepts every form | points: 1
def check_answer(response, reference):
    numbers = re.findall(NUMBER, behind(response.split("\n")[-1]))
    return len(numbers) == 1 and value(numbers[0]) == value(reference)


# %% wrong: whole numbers alone | idea: text | fails at: compares values | points: 1
def check_answer(response, reference):
    numbers = re.findall(r"-?\d+", behind(last_line(response)).replace(",", ""))
    return len(numbers) == 1 and int(numbers[0]) == int(value(reference))


# %% wrong: the marker in any line | idea: no marker | fails at: refuses other answers | points: 1
def check_answer(response, reference):
    numbers = re.findall(NUMBER, behind(" ".join(response.splitlines())))
    return len(numbers) == 1 and value(numbers[0]) == value(reference)


# %% wrong: equal numbers count once | idea: several | fails at: refuses several numbers | points: 1
def check_answer(response, reference):
    numbers = set(re.findall(NUMBER, behind(last_line(response))))
    return len(numbers) == 1 and value(numbers.pop()) == value(reference)


# %% wrong: rounded | idea: accepts another | fails at: refuses other answers | points: 1
def check_answer(response, reference):
    numbers = re.findall(NUMBER, behind(last_line(response)))
    return len(numbers) == 1 and round(value(numbers[0])) == round(value(reference))


# %% wrong: the marker begins its line | idea: unit | fails at: accepts every form | points: 1
def check_answer(response, reference):
    found = re.match(rf"(?:{MARK})(.*)", last_line(response), re.IGNORECASE)
    numbers = re.findall(NUMBER, found.group(1)) if found else []
    return len(numbers) == 1 and value(numbers[0]) == value(reference)


# %% wrong: half a marker will do | idea: no marker | fails at: refuses other answers | points: 1
def check_answer(response, reference):
    parts = re.split("answer|####", last_line(response), flags=re.IGNORECASE)
    numbers = re.findall(NUMBER, parts[-1]) if len(parts) > 1 else []
    return [value(number) for number in numbers] == [value(reference)]


# %% wrong: one number sign is a marker | idea: no marker | fails at: refuses other answers | points: 1
def check_answer(response, reference):
    parts = re.split("the answer is|answer:|#", last_line(response), flags=re.IGNORECASE)
    numbers = re.findall(NUMBER, parts[-1]) if len(parts) > 1 else []
    return [value(number) for number in numbers] == [value(reference)]


# %% wrong: a tenth is nothing | idea: accepts another | fails at: refuses other answers | points: 1
def check_answer(response, reference):
    parts = re.split(MARK, last_line(response), flags=re.IGNORECASE)
    numbers = re.findall(NUMBER, parts[-1]) if len(parts) > 1 else []
    return len(numbers) == 1 and abs(value(numbers[0]) - value(reference)) < 0.1


# %% wrong: a hundredth is nothing | idea: accepts another | fails at: refuses other answers | points: 1
def check_answer(response, reference):
    parts = re.split(MARK, last_line(response), flags=re.IGNORECASE)
    numbers = re.findall(NUMBER, parts[-1]) if len(parts) > 1 else []
    return len(numbers) == 1 and abs(value(numbers[0]) - value(reference)) < 0.01
