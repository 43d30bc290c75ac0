"""Answers that are clear and are read, beside answers like them that are not clear and are not read."""

from __future__ import annotations

import pytest

from helpers.tasks.answers import UNCLEAR, parse_answer, parse_choice
from helpers.tasks.scienceqa import read_answer

ANIMALS = ["a cat", "a dog", "a fox", "a hen"]
FOOD = ["salt", "sour cream", "cream", "red onion"]
NLI = ["yes", "maybe", "no"]

CASES: list[tuple[list[str], str, int | None]] = [
    (ANIMALS, "A, B and C", None),
    (ANIMALS, "<answer>B</answer>", 1),
    (ANIMALS, "\\boxed{\\text{B}}", 1),
    (ANIMALS, "It's B", 1),
    (ANIMALS, "The answer is not A. It is B.", 1),
    (ANIMALS, "<think>It could be a cat or a dog.</think>B", 1),
    (NLI, "I have no idea", None),
    (NLI, "There is no dog in the first sentence.", None),
    (NLI, "There is no way to tell, so maybe.", 1),
    (ANIMALS, "ANSWER: $A$", 0),
    (ANIMALS, "B is correct", 1),
    (ANIMALS, "Answer - B", 1),
    (ANIMALS, "answer is C and not D", 2),
    (ANIMALS, "Réponse : B", 1),
    (ANIMALS, "答案是B", 1),
    (ANIMALS, "答案是B。", 1),
    (ANIMALS, "Antwort: C", 2),
    (ANIMALS, "La respuesta es B.", 1),
    (ANIMALS, "La risposta è C", 2),
    (ANIMALS, "Ответ: B", 1),
    (ANIMALS, "答え：D", 3),
    (ANIMALS, "정답은 B", 1),
    (ANIMALS, "الإجابة: B", 1),
    (["2 cats", "3 dogs", "1 fish"], "The answer is 2.", None),
    (["2", "3", "1"], "The answer is 2.", 0),
    (ANIMALS, "both A and B", None),
    (ANIMALS, "A or B", None),
    (ANIMALS, "neither", None),
    (ANIMALS, "neither A nor B", None),
    (["cats", "dogs", "all of the above"], "all of the above", 2),
    (["cats", "dogs", "All of the above"], "The answer is all of the above.", 2),
    (["cats", "dogs", "none of these"], "None of these.", 2),
    (["cat", "dog", "both A and B", "neither"], "A", 0),
    (["cat", "dog", "both A and B", "neither"], "Both A and B", 2),
    (["cat", "dog", "both A and B", "neither"], "C", 2),
    (ANIMALS, "a", 0),
    (ANIMALS, "A dog is there", 1),
    (ANIMALS, "a nice day", None),
    (ANIMALS, "A nice day", None),
    (ANIMALS, "1 thing is clear", None),
    (ANIMALS, "1. Read the question. 2. Think.", None),
    (ANIMALS, "1, 2, 3, 4", None),
    (ANIMALS, "2. a dog", 1),
    (ANIMALS, "The answer is Z", None),
    (ANIMALS, "Ａ", 0),
    (ANIMALS, "（Ｂ）", 1),
    (ANIMALS, "Ｂ．", 1),
    (ANIMALS, "Option B", 1),
    (ANIMALS, "B: text", 1),
    (ANIMALS, "B - text", 1),
    (ANIMALS, "The correct option is (B) a dog", 1),
    (ANIMALS, "**B**", 1),
    (ANIMALS, "[B]", 1),
    (ANIMALS, "b.", 1),
    (ANIMALS, "✅ B", 1),
    (ANIMALS, "👉 **B**", 1),
    (ANIMALS, "B ✅", 1),
    (ANIMALS, "\u200fB\u200f", 1),
    (ANIMALS, "[[B]]", 1),
    (ANIMALS, "#### B", 1),
    (ANIMALS, "<think>hmm A", None),
    (ANIMALS, "<think>A</think>\n\nThe answer is C", 2),
    (["-5", "5", "5.5"], "-5", 0),
    (["-5", "5", "5.5"], "The answer is -5.", 0),
    (["-5 m", "5 m", "5.5 m"], "I get -5 m here", 0),
    (["1/2", "1/4"], "The answer is 1/2.", 0),
    (["\\frac{1}{2}", "\\frac{1}{4}"], "\\boxed{\\frac{1}{4}}", 1),
    (["1/2", "1/4"], "$\\frac{1}{4}$", 1),
    (["$5", "$10"], "The answer is $5.", 0),
    (["5 feet", "5 yards"], "5 yards", 1),
    (["20 tons", "20 pounds"], "The answer is 20.", None),
    (FOOD, "The answer is B. No, the answer is C.", 2),
    (FOOD, "The answer is B. The answer is C.", None),
    (FOOD, "The answer is A. Wait, that is wrong. The answer is B.", 1),
    (FOOD, "I think the answer is A... Final answer: C", 2),
    (FOOD, "{\"answer\": \"B\", \"solution\": \"salt or cream\"}", 1),
    (FOOD, "{\"answer\": \"B\"}\n{\"answer\": \"B\"}", 1),
    (FOOD, "{\"answer\": \"B\"}\n{\"answer\": \"C\"}", None),
    (FOOD, "{\"answer\": \"B\"}\n\nQuestion: x\n{\"answer\": \"C\"}", 1),
    (FOOD, "{\"answer\": 1}", 0),
    (["The return of jafar", "The Return of Jafar"], "I think it is The Return of Jafar", 1),
    (["thanks,\nAnne", "Thanks,\nAnne"], "The answer is 'Thanks, Anne'.", 1),
    (["***X Y***", "\"X Y\""], "{\"answer\": \"X Y\"}", None),
    (["***X Y***", "\"X Y\""], "{\"answer\": \"***X Y***\"}", 0),
    (["***X Y***", "\"X Y\""], "The answer is \"X Y\".", 1),
    (["Minnesota", "Ohio"], "The answer isMinnesota", 0),
    (["Minnesota", "Ohio"], "The answer is Minnesota.The end", 0),
    (["Mr. Lee is old.", "Mr. Lee is rich."], "The answer is Mr. Lee is rich.", 1),
    (["3.5 km", "3 km"], "The answer is 3.5 km.", 0),
    (["straw man: a misrep", "red herring: other"], "straw man", 0),
    (["straw man: a misrep", "red herring: other"], "The answer is red herring.", 1),
    (["false causation: x y", "red herring: other"], "The answer is False.", None),
    (FOOD, "salt is wrong", None),
    (FOOD, "It is not salt, it is cream", 2),
    (FOOD, "Not A but B", 1),
    (FOOD, "The answer is either A or B.", None),
    (FOOD, "The answer is B or C", None),
    (FOOD, "A/B", None),
    (FOOD, "A & B", None),
    (FOOD, "A and B are both wrong, so C", None),
    (FOOD, "The best answer is option C.", 2),
    (FOOD, "My answer: (c)", 2),
    (FOOD, "I'm going with B", None),
    (FOOD, "Option B is the correct answer", 1),
    (FOOD, "B is not correct", None),
    (FOOD, "C. cream is right since A is salt", 2),
    (FOOD, "the answer would be B, not C", 1),
    (FOOD, "B (sour cream)", 1),
    (FOOD, "B) Sour cream.", 1),
    (FOOD, "B sour cream", 1),
    (FOOD, "Answer B.", 1),
    (FOOD, "The answer is: \nB", 1),
    (FOOD, "**Answer: B**", 1),
    (FOOD, "**Answer**: B", 1),
    (FOOD, "Correct answer: B. sour cream", 1),
    (FOOD, "I believe that the right choice is B: sour cream", 1),
    (NLI, "No, there is no evidence.", 2),
    (NLI, "No", 2),
    (NLI, "The answer is no.", 2),
    (NLI, "The answer is no because it is red", 2),
    (NLI, "I would say no.", 2),
    (NLI, "No dog is in the picture.", None),
    (NLI, "Maybe.", 1),
    (NLI, "Yes it is", 0),
    (NLI, "not yes", None),
    (NLI, "no no no", None),
    (["True", "False"], "That is false.", 1),
    (["Solution A", "Solution B"], "B", 1),
    (["Solution B", "Solution A"], "The answer is A.", None),
    (["Solution B", "Solution A"], "Solution A", 1),
    (FOOD, "{\"answer\": \"C", 2),
    (FOOD, "{\"answer\": \"sour cream\", \"solu", 1),
    (FOOD, "The answer is A, B, and D", None),
    (FOOD, "ABCD", None),
    (FOOD, "AB", None),
    (FOOD, "A B", None),
    (FOOD, "A\nB", None),
    (FOOD, "None of the above", None),
    (FOOD, "E. none", None),
    (FOOD, "I do not know the answer", None),
    (FOOD, "As an AI, I cannot choose", None),
    (FOOD, "I choose not to answer", None),
    (FOOD, "Is it A?", None),
    (FOOD, "It is a pity", None),
    (FOOD, "That's a good question", None),
    (FOOD, "It is A", 0),
    (FOOD, "that is B because of x", 1),
    (["2", "3"], "2 + 1 = 3", None),
    (FOOD, "$\\text{B}$", 1),
    (FOOD, "\\(B\\)", 1),
    (FOOD, "The answer is $\\boxed{\\textbf{(B)}}$.", 1),
    (FOOD, "<ANSWER> (C) </ANSWER>", 2),
    (FOOD, "<answer>salt or cream</answer>", None),
    (FOOD, "Let me think. <answer>A</answer> no wait <answer>B</answer>", 1),
    (["猫", "狗"], "答案是猫。", 0),
    (["猫", "狗"], "我认为是狗", 1),
    (["猫", "狗"], "不是猫", None),
    (["чашка", "ложка"], "Ответ: ложка", 1),
    (FOOD, "B.\nC.", None),
    (FOOD, "Choice: B\nReason: salt is plain", 1),
    (FOOD, "I pick A, salt", 0),
    (FOOD, "B!!!", 1),
    (FOOD, "(B", 1),
    (FOOD, "B]", 1),
    (FOOD, "Option (B): sour cream", 1),
    (FOOD, "Answer is B", 1),
    (FOOD, "answer b", 1),
    (FOOD, "The answer is b", 1),
    (FOOD, "The answer is a", 0),
    (FOOD, "The answer is a dip", None),
    (FOOD, "Option 2", 1),
    (FOOD, "number 2", None),
    (FOOD, "2", 1),
    (FOOD, "0", None),
    (FOOD, "-1", None),
    (FOOD, '{"answer": -1}', None),
    (["He is late. So is she.", "He is early."], '{"answer": "This is a cost. He is late. So is she."}', 0),
    (["30 grams", "30 kilograms"], "{\"answer\": \"30 kg\"}", 1),
    (["30 grams", "30 kilograms"], "30g", 0),
    (["a tune-up.", "a wash"], "The answer is 'a tune up'", 0),
    (["fragile", "hard"], '{"answer": "fragile", "solution": {"x": [{"answer": "fragile"}, {"answer": "hard"', 0),
    (["salt", "oil"], "{\"answer\": {\"text\": \"oil\", \"time\": \"2\"}}", 1),
]  # fmt: skip


@pytest.mark.parametrize(("options", "text", "expected"), CASES, ids=[repr(t)[:50] for _, t, _ in CASES])
def test_what_is_clear_is_read_and_what_is_not_is_not(options: list[str], text: str, expected: int | None) -> None:
    found = parse_answer(text, options)
    assert found.index == expected, found.reason


TITLES = ["***The Lion***", '"The Lion"', "The Lion", "the lion", "The Lion?"]


@pytest.mark.parametrize("index", range(len(TITLES)))
def test_options_that_differ_in_case_and_marks_only_are_told_apart_where_the_answer_is_exact(index: int) -> None:
    for text in (TITLES[index], f"The answer is {TITLES[index]}", f"Answer:\n{TITLES[index]}"):
        assert parse_choice(text, TITLES) == index
    assert parse_choice("THE LION", TITLES) == -1


def test_letters_that_a_prompt_showed_count_beside_names_with_letters() -> None:
    options = ["sample B", "sample A"]
    assert parse_answer("The answer is A.", options) == UNCLEAR
    assert read_answer("The answer is A.", options).index == 0
    assert read_answer("The answer is sample A.", options).index == 1
    assert read_answer("The answer is 1.", ["1 mile", "1 yard"]).index is None


def test_a_number_in_json_counts_from_the_first_number() -> None:
    assert parse_choice('{"answer": 1}', FOOD) == 0
    assert parse_choice('{"answer": 1}', FOOD, first_number=0) == 1
    assert parse_choice('{"answer": 1}', ["2 cats", "1 dog"]) == -1
