"""The words and signs by which ``answers`` knows that an answer follows, is denied, or is a label."""

from __future__ import annotations

import re

KEYS = (
    "final_answer", "correct_answer", "answer", "correct_choice", "correct_option", "selected_option", "answer_choice",
    "choice", "option", "prediction", "label", "respuesta", "réponse", "antwort", "risposta", "resposta", "ответ",
    "答案",
)  # fmt: skip

UNITS = {
    "kg": "kilograms", "g": "grams", "mg": "milligrams", "km": "kilometers", "m": "meters", "cm": "centimeters",
    "mm": "millimeters", "l": "liters", "ml": "milliliters", "ft": "feet", "lb": "pounds", "lbs": "pounds",
    "oz": "ounces", "mi": "miles", "yd": "yards",
}  # fmt: skip

# "Answer" in other languages, with what may stand between it and the answer.
_ANSWER_WORDS = (
    "réponse", "antwort", "lösung", "respuesta", "resposta", "risposta", "antwoord", "svar", "svaret", "odpowiedź",
    "odpověď", "odpoveď", "válasz", "vastaus", "răspuns", "răspunsul", "cevap", "yanıt", "jawaban", "đáp án", "ответ",
    "відповідь", "отговор", "απάντηση", "תשובה", "الإجابة", "الجواب", "الاجابة", "پاسخ", "جواب", "उत्तर",
    "উত্তর", "คำตอบ",
)  # fmt: skip
_COPULAS = (
    "est", "ist", "lautet", "es", "é", "è", "is", "är", "er", "to", "je", "jest", "on", "este", "adalah", "là", "это",
    "—", "–", "-", "є", "е", "είναι", "היא", "هي", "هو", "है", "হল", "คือ",
)  # fmt: skip
_EASTERN = r"(?:正确答案|正確答案|答案|回答|正解|答え|正答|정답|답)\s*(?:应该是|應該是|是|为|為|は|은|는)?\s*[:：]?"

_IS = (
    r"(?:(?:['’]s\b|(?i:is|was|would be|should be|must be|has to be)(?:\b|(?=[A-Z])))\s*(?:[:：]|->)?"
    r"|[:：=]|->|=>|→|\s[-–—]\s)"
)
_SURE = (
    r"(?:\s*(?i:definitely|clearly|probably|likely|most likely|obviously|certainly|therefore|thus|actually|simply"
    r"|indeed)\b,?)?"
)
MARKER = re.compile(
    rf"(?:(?i:\b(?:answer|choice|option|prediction|selection|letter)\b[*_\"'`]*\s*){_IS}{_SURE}"
    rf"|(?i:\bI(?:['’]d|['’]ll)?\s+(?:would\s+|will\s+)?(?:choose|pick|select|go with|went with)\b)"
    rf"|(?i:(?<!\w)(?:{'|'.join(_ANSWER_WORDS)})(?:\s+[^\W\d_]{{4,12}})??\s*(?:(?:{'|'.join(_COPULAS)})(?!\w)\s*[:：]?|[:：=]))"
    rf"|{_EASTERN}|[选選](?:择|擇)?\s*(?=[A-ZＡ-Ｚ]))\s*"
)
FINAL = re.compile(r"(?:\bfinal\b|\bfinale?\b|最终)[\s*_]*$", re.IGNORECASE)
TAG = re.compile(r"<((?:final_?)?(?:answer|choice|option))>(.*?)(?:</\1>|$)", re.IGNORECASE | re.DOTALL)
# Weaker than a statement: only what is a label, or an option and nothing else, counts after it.
IT_IS = re.compile(rf"\b(?i:it|that|this|so)(?:\s+(?i:is|must be|would be|should be)\b|['’]s){_SURE}\s*")
CAPITAL = re.compile(
    r"[\[(*\"'`]*[A-Z][\])*\"'`]*(?:[.,;:!]|$|\s+(?:because|since|and not|not)\b)|(?i:option|choice)\s"
)
CORRECT = re.compile(
    r"(?<![\w'’])[\[(*\"']*(?P<label>[A-Z])[\])*\"']*(?:\s*[:.]\s[^.\n]{1,80}?)?\s+"
    r"(?:is|would be|must be|seems|looks)\s+(?:the\s+)?(?:most\s+|only\s+|best\s+)?(?:correct|right|true|best|answer)\b"
)
CHANGED_MIND = re.compile(
    r"\b(?:no|wait|actually|correction|sorry|rather|mistake|wrong|incorrect|reconsider\w*|second thought|on reflection|"
    r"hmm|however|instead|but|let me (?:check|correct)\w*|i mean|not)\b",
    re.IGNORECASE,
)

# After a statement that is taken back.
TAKEN_BACK = re.compile(
    r"(?:\b(?i:wait|actually|correction|sorry|i mean|i meant)\b|(?:^|[.!?]\s+)(?i:no)\b)[\s,:.!–—-]*"
    r"(?:(?:\b(?i:no|actually|wait|it is|it's|i mean|i meant|rather|make that)\b)[\s,:.!–—-]*)*"
)
FILLER = re.compile(
    r"^(?i:so|hence|thus|therefore|then|definitely|clearly|probably|certainly|sure|ok|okay|well)[,:]?\s+(?=[\[(]?[A-Z][\])]?\W*$)"
)
LABELS_BESIDE = re.compile(r"(?<![\w'’.])[\[(]?(?P<label>[A-Z])[\]).:]+\s+\S")

NEGATION = re.compile(r"(?:\bnot|\bnever|\bno|\bneither|\bnor|\bwithout|n['’]t|\bexcept|\brather than|\binstead of"
                      r"|\bwrong:?|\bincorrect:?|不是?|没有)\s*"
                      r"(?:\b(?:be|the|a|an|is|option|choice|answer)\b\s*)*[\"'`*(\[]*$", re.IGNORECASE)  # fmt: skip
DENIED_AFTER = re.compile(
    r"[\"'`*)\]]*\s*(?:(?:is|are|was|were|would be|seems|looks)\s+(?:also\s+|clearly\s+)?(?:wrong|incorrect|not)\b"
    r"|(?:is|are|was|were|do|does|did|would|could|can|should)(?:n['’]t|\s+not)\b|cannot\b|can['’]t\b|won['’]t\b)",
    re.IGNORECASE,
)
_LETTER = r"(?:(?i:option|choice|answer|letter)\s+)?[\[(*\"'`]*(?:[A-Z]|(?<=[\[(])[a-z])[\])*\"'`]*(?!\w)"
DENIED_LABEL = re.compile(
    rf"[,;]?\s*(?:\b(?i:and|but)\s+)?\b(?i:not|rather than|instead of|never)\s+{_LETTER}(?:\s*(?i:but)\b)?"
    r"|^\s*(?i:but)\b"
)

LABEL = r"(?:option|choice|answer|letter)?\s*[\[(#\s]*(?P<label>[a-z]|\d{1,2})\s*"
MARKED_LABEL = re.compile(r"(?<!\w)[*_`\"“']{1,3}([A-Za-z]|\d{1,2})[*_`\"”']{1,3}(?!\w)")  # **B**
END_MARKS = re.compile(r"(?<=\w)[*_`\"”']+(?=[.,:;!。]*$)|(?<=^[A-Z])[*_`\"”']+(?=\W)")  # its end: B**.
LABEL_ALONE = re.compile(LABEL + r"[\])]*\s*(?:选项|選項|번|です|だ|입니다|이다)?\s*[.:,;!)。．]*$", re.IGNORECASE)
LABEL_FIRST = re.compile(
    LABEL + r"(?P<sign>[\])]+\s*[.:,;-]?|[.:,;、](?!\d)|\s[-–—]\s|\s(?=(?:because|since|as it|for|due to|which)\b))"
    r"\s*(?P<rest>.*)",
    re.IGNORECASE | re.DOTALL,
)
LABEL_INSIDE = re.compile(
    r"(?:\b(?i:option|choice|answer|letter)\s+[\[(]?(?P<named>[A-Z]|\d{1,2})[\])]?(?!\w)"
    r"|(?<!\w)[\[(](?P<bracketed>[A-Z]|[a-z])[\])])"
)
_ONE = r"[\[(*\"'`]*(?:[A-Za-z]|\d{1,2})[\])*\"'`]*"
LABEL_LIST = re.compile(
    rf"(?<![\w'’.-])(?P<all>{_ONE}(?:(?:\s*[,/&+;]\s*(?:(?i:and|or)\s+)?|\s+(?i:and|or|nor|und|oder|et|ou|y|o)\s+)"
    rf"(?:(?i:option|choice|answer|letter)\s+)?{_ONE}(?![\w'’]))+)"
)

BEFORE_LABELS = re.compile(r"\b(?:both|either|between|options?|choices?|answers?)\b", re.IGNORECASE)

# Options that any sentence may hold as words: they count where they stand apart.
_EVERYDAY = (
    "no maybe none all one two any some it i a an the in on at to of is are was not or and so this that he she we they "
    "you us"
)
EVERYDAY = frozenset(_EVERYDAY.split())
APART_BEFORE = re.compile(
    r"(?:^|[.,:;!?(\[\"'`*“‘—–\n\x00-]|\b(?:so|then|say|saying|said|answer|is|be|with|as|and|or))\s*$", re.IGNORECASE
)
APART_AFTER = re.compile(r"\s*(?:$|[.,:;!?)\]\"'`*”’—–\n]|(?:because|since|as|for)\b)", re.IGNORECASE)
# No name by themselves, where only the first words of an option are given.
_HOLLOW = (
    "more less same both neither either other up down left right there these those when where what which who will with "
    "from have has does did only here your dear their many much very about into over such another first second most "
    "each every if then its it's his her our my by for as"
)
HOLLOW = EVERYDAY | frozenset(_HOLLOW.split())
