"""Rewards of TriMPI's datasets, for TRL and verl. Needs nothing but Python 3.9.

KIND says which dataset this copy belongs to, SPEC how an own policy is scored. A completion is
<think>...</think> and then one \\boxed{...}; the ground truth is JSON: the list of right answers.

TRL:   GRPOTrainer(reward_funcs=[accuracy_reward, format_reward], args=GRPOConfig(reward_weights=[0.9, 0.1], ...))
verl:  custom_reward_function.path=reward.py custom_reward_function.name=compute_score
"""

import json
import math
import re
import unicodedata

KIND = "clevr-policy"
SPEC = {}
TOOLS = {}

# ---- the form of a response

OPEN = "\\boxed{"
SPACE = " \t\n\r\v\f\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"
SPACES = re.compile("[" + SPACE + "]+")


def _closing(text, start, strings):
    depth, quoted, i = 1, False, start
    while i < len(text):
        c = text[i]
        if quoted:
            if c == "\\":
                i += 1
            elif c == '"':
                quoted = False
        elif strings and c == '"':
            quoted = True
        elif c == "{":
            depth += 1
        elif c == "}":
            depth -= 1
            if depth == 0:
                return i
        i += 1
    return -1


def _boxes(text):
    found, at = [], text.find(OPEN)
    while at != -1:
        start = at + len(OPEN)
        end = _closing(text, start, True)
        if end == -1:
            end = _closing(text, start, False)
        if end == -1:
            break
        found.append((text[start:end], end + 1))
        at = text.find(OPEN, end)
    return found


def _spoken(text, begin, end):
    rest = text[end + 8:] if end != -1 and (begin == -1 or end < begin) else text
    out = ""
    while True:
        opened = rest.find("<think>")
        if opened == -1:
            return out + rest
        out += rest[:opened] + " "
        closed = rest.find("</think>", opened)
        if closed == -1:
            return out
        rest = rest[closed + 8:]


def parse_response(completion):
    """The content of the only box outside the thinking (or None), and whether the form is kept."""
    text = completion.strip(SPACE)
    begin, end = text.find("<think>"), text.find("</think>")
    paired = text.count("<think>") == 1 and text.count("</think>") == 1 and begin < end
    spoken = _spoken(text, begin, end)
    boxes = _boxes(spoken)
    only = boxes[0] if len(boxes) == 1 and spoken.count(OPEN) == 1 else None
    well_formed = paired and begin == 0 and only is not None and spoken[only[1]:].strip(SPACE) == ""
    return (None if only is None else only[0].strip(SPACE)), well_formed


def _squeeze(text):
    return SPACES.sub(" ", text.strip(SPACE))


# ---- tool calls (GTAPolicy): half the tool, half the arguments

TEXT = {"attribute", "text", "query", "command", "annotation", "keywords", "instruction"}


def _no_constant(_):
    raise ValueError("not JSON")


def _loads(text):
    return json.loads(text, parse_constant=_no_constant)


def parse_call(answer):
    if answer is None or len(answer) > 20000:
        return None
    try:
        call = _loads(answer)
    except (ValueError, RecursionError):
        return None
    if not isinstance(call, dict) or sorted(call) != ["arguments", "name"]:
        return None
    return call if isinstance(call["name"], str) and isinstance(call["arguments"], dict) else None


def _f1(a, b):
    if not a or not b:
        return 1.0 if len(a) == len(b) else 0.0
    counts = {}
    for item in a:
        counts[item] = counts.get(item, 0) + 1
    both = 0
    for item in b:
        if counts.get(item, 0) > 0:
            both += 1
            counts[item] -= 1
    return 2 * both / (len(a) + len(b))


def text_similarity(a, b):
    """Mean of word F1 and of chrF (character n-grams up to 4)."""
    x, y = (_squeeze(unicodedata.normalize("NFKC", t[:4000]).lower()) for t in (a, b))
    if x == y:
        return 1.0
    words = _f1(re.findall(r"[^\W_]+", x), re.findall(r"[^\W_]+", y))
    chars, orders = 0.0, 0
    p, q = x.replace(" ", ""), y.replace(" ", "")
    for n in range(1, 5):
        left = [p[i:i + n] for i in range(len(p) - n + 1)]
        right = [q[i:i + n] for i in range(len(q) - n + 1)]
        if left or right:
            chars += _f1(left, right)
            orders += 1
    return 0.5 * words + 0.5 * (chars / orders if orders else 0.0)


def _number(text):
    """A number as people write it, or None."""
    body = re.sub(r"\s*%$", "", text.strip(SPACE))
    body = re.sub(r"^\$\s*", "", body)
    if not re.fullmatch(r"[+-]?(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)?(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,3})?", body) or not re.search("[0-9]", body):
        return None
    try:
        value = float(body.replace(",", ""))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


FUNCTIONS = {
    "abs": abs, "int": lambda x: float(math.trunc(x)), "float": float, "sqrt": math.sqrt, "ceil": math.ceil, "floor": math.floor,
    "fabs": abs, "exp": math.exp, "log2": math.log2, "log10": math.log10, "sin": math.sin, "cos": math.cos, "tan": math.tan,
}


def evaluate_expression(text):
    """Python arithmetic by a parser of our own; nothing is executed. None when it is no finite number."""
    if len(text) > 400:
        return None
    tokens = re.findall(r"[0-9]+(?:_[0-9]+)*(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?|\.[0-9]+(?:[eE][+-]?[0-9]+)?|\*\*|//|[-+*/%(),\[\]]|[A-Za-z_][A-Za-z_0-9.]*|\S", text)
    at, depth = 0, 0

    def take(token):
        nonlocal at
        if at < len(tokens) and tokens[at] == token:
            at += 1
            return True
        return False

    def number(value):
        if isinstance(value, list) or isinstance(value, complex):
            raise ValueError
        return float(value)

    def items(close):
        out = []
        while not take(close):
            out.append(total())
            if not take(","):
                if not take(close):
                    raise ValueError
                break
        return out

    def call(name, args):
        if name in ("min", "max", "sum"):
            values = args[0] if len(args) == 1 and isinstance(args[0], list) else args
            if not values:
                raise ValueError
            return {"min": min, "max": max, "sum": sum}[name]([number(v) for v in values])
        if name == "len":
            if not args or not isinstance(args[0], list):
                raise ValueError
            return float(len(args[0]))
        if name == "round":
            scale = 10.0 ** (number(args[1]) if len(args) > 1 else 0.0)
            scaled = number(args[0]) * scale
            down = math.floor(scaled)
            rest = scaled - down
            return (down + 1 if rest > 0.5 or (rest == 0.5 and down % 2 != 0) else down) / scale
        if name == "pow":
            return number(args[0]) ** number(args[1])
        if name == "log" and len(args) > 1:
            return math.log(number(args[0])) / math.log(number(args[1]))
        if name == "log":
            name = "ln"
        if len(args) != 1:
            raise ValueError
        return math.log(number(args[0])) if name == "ln" else FUNCTIONS[name](number(args[0]))

    def atom():
        nonlocal at
        if at >= len(tokens):
            raise ValueError
        token = tokens[at]
        at += 1
        if token[0].isdigit() or token[0] == ".":
            return number(token.replace("_", ""))
        if token == "(":
            value = total()
            if not take(")"):
                raise ValueError
            return value
        if token == "[":
            return items("]")
        name = token[5:] if token.startswith("math.") else token
        if take("("):
            return call(name, items(")"))
        if token.startswith("math.") and name in ("pi", "e"):
            return getattr(math, name)
        raise ValueError

    def unary():
        nonlocal depth
        depth += 1
        if depth > 40:
            raise ValueError
        try:
            if take("-"):
                return -number(unary())
            if take("+"):
                return number(unary())
            base = atom()
            return number(base) ** number(unary()) if take("**") else base
        finally:
            depth -= 1

    def product():
        value = unary()
        while True:
            if take("*"):
                value = number(value) * number(unary())
            elif take("//"):
                value = float(math.floor(number(value) / number(unary())))
            elif take("/"):
                value = number(value) / number(unary())
            elif take("%"):
                by = number(unary())
                value = number(value) - by * math.floor(number(value) / by)
            else:
                return value

    def total():
        nonlocal depth
        depth += 1
        if depth > 40:
            raise ValueError
        value = product()
        while True:
            if take("+"):
                value = number(value) + number(product())
            elif take("-"):
                value = number(value) - number(product())
            else:
                depth -= 1
                return value

    try:
        value = number(total())
    except (ValueError, ArithmeticError, KeyError, IndexError, TypeError):
        return None
    return value if at == len(tokens) and math.isfinite(value) else None


def _box(text):
    part = r"\s*(-?[0-9.]{1,12})\s*"
    match = re.fullmatch(r"\s*[(\[]?" + ",".join([part] * 4) + r"[)\]]?\s*", text)
    try:
        a, b, c, d = (float(x) for x in match.groups()) if match else (0.0, 0.0, 0.0, 0.0)
    except ValueError:
        return None
    return (a, b, c, d) if c > a and d > b else None


def _written(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def score_field(name, given, gold):
    if name in TEXT:
        return min(1.0, max(0.0, text_similarity(given, _written(gold)))) if isinstance(given, str) else 0.0
    if name == "expression":
        if isinstance(given, bool) or not isinstance(given, (str, int, float)):
            return 0.0
        a, b = evaluate_expression(_written(given)), evaluate_expression(_written(gold))
        return 1.0 if a is not None and b is not None and abs(a - b) <= 1e-6 * max(1.0, abs(b)) else 0.0
    if name == "bbox":
        a = _box(given) if isinstance(given, str) else _box(", ".join(_written(v) for v in given)) if isinstance(given, list) else None
        b = _box(_written(gold))
        if a is None or b is None:
            return 0.0
        both = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
        return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)
    if type(given) is type(gold) and given == gold:
        return 1.0
    if isinstance(gold, bool):
        return 1.0 if isinstance(given, str) and given.strip(SPACE).lower() == _written(gold) else 0.0
    if isinstance(gold, (int, float)):
        if isinstance(given, (int, float)) and not isinstance(given, bool):
            return 1.0 if given == gold else 0.0
        return 1.0 if isinstance(given, str) and re.fullmatch("[0-9]+", given.strip(SPACE)) and float(given) == gold else 0.0
    return 1.0 if isinstance(given, str) and given.strip(SPACE) == gold else 0.0


def score_arguments(given, gold):
    """TOOLS: for each tool name the defaults of its optional arguments."""
    defaults = TOOLS.get(gold["name"], {})
    fields = list(dict.fromkeys([*gold["arguments"], *given]))
    total = 0.0
    for field in fields:
        wanted = gold["arguments"].get(field, defaults.get(field))
        value = given[field] if field in given else defaults.get(field)
        if wanted is None or (field not in given and value is None):
            continue
        total += score_field(field, value, wanted)
    return total / len(fields) if fields else 1.0


def _call_accuracy(answer, gold):
    call = parse_call(answer)
    if call is None or call["name"] != gold["name"]:
        return 0.0
    return 0.5 + 0.5 * score_arguments(call["arguments"], gold)


# ---- own policies


def _own_accuracy(answer, gold):
    kind = SPEC.get("type", "exact")
    if answer is None or len(answer) > 10000:
        return 0.0
    if kind == "number":
        a = _number(answer)
        b = gold if isinstance(gold, (int, float)) else _number(str(gold))
        if a is None or b is None:
            return 0.0
        return 1.0 if abs(a - b) <= max(SPEC.get("tolerance", 0), SPEC.get("relative", 1e-9) * abs(b)) else 0.0
    if kind == "set":
        separator = SPEC.get("separator", ",")
        split = lambda value: sorted({item.strip(SPACE) for item in (value.split(separator) if isinstance(value, str) else value)} - {""})
        return 1.0 if split(answer) == split(gold) else 0.0
    if kind == "regex":
        flags = sum({"i": re.I, "m": re.M, "s": re.S}.get(f, 0) for f in SPEC.get("flags", ""))
        return 1.0 if len(answer) <= 500 and re.fullmatch(gold, answer, flags) else 0.0
    a, b = _squeeze(answer), _squeeze(_written(gold))
    return 1.0 if (a.lower() == b.lower() if SPEC.get("ignoreCase") else a == b) else 0.0


# ---- what trainers call


def score(completion, ground_truth):
    """Accuracy and format of one completion, 0 to 1 each."""
    golds = json.loads(ground_truth)
    answer, well_formed = parse_response(completion)
    if KIND == "gta-policy" or SPEC.get("type") == "toolCall":
        accuracy = max((_call_accuracy(answer, gold) for gold in golds), default=0.0)
        well_formed = well_formed and parse_call(answer) is not None
    elif KIND == "own":
        accuracy = max((_own_accuracy(answer, gold) for gold in golds), default=0.0)
    else:
        accuracy = 1.0 if answer is not None and any(_squeeze(answer) == _squeeze(gold) for gold in golds) else 0.0
    return {"accuracy": accuracy, "format": 1.0 if well_formed else 0.0}


def _text(completion):
    return completion if isinstance(completion, str) else completion[-1]["content"]


def accuracy_reward(completions, solution, **kwargs):
    """TRL's signature: one number for each completion."""
    return [score(_text(c), s)["accuracy"] for c, s in zip(completions, solution)]


def format_reward(completions, solution, **kwargs):
    return [score(_text(c), s)["format"] for c, s in zip(completions, solution)]


def compute_score(data_source, solution_str, ground_truth, extra_info=None):
    """verl's signature: the reward, and its parts as metrics."""
    parts = score(solution_str, ground_truth)
    return {"score": 0.9 * parts["accuracy"] + 0.1 * parts["format"], **parts}
