"""Word lists behind the reading of recipe text: units, filler, kinds of course."""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# in singular
UNITS = _words(
    """
    mg cup c teaspoon tsp t tablespoon tbsp tbs tb tablesp teasp ounce oz fl pound lb lbs gram g gr gm kg
    kilogram kilo ml milliliter millilitre cl dl liter litre l quart qt pint pt gallon gal pinch dash
    handful bunch clove piece slice stick can tin jar package packet pkg pack bag box bottle head
    stalk sprig drop cube inch cm mm knob splash drizzle sheet part scoop spoonful spoon dozen
    envelope container carton leaf rib strip fillet wedge dollop measure glass bulb ear block rasher
    sachet bar loaf us imp imperial metric uk square serving portion lump thumb pot bowl mug kilos grm
    ltr centimeter centimetre pc pcs ea weight
    """
)

# Size, state and preparation: no part of the name when they stand in front.
FILLER = _words(
    """
    a an the of about approximately approx around some few several more less or to plus extra
    additional fresh freshly dried ripe raw cooked uncooked frozen canned tinned large medium small
    big little medium-sized large-sized small-sized good quality best finely coarsely roughly thinly
    thickly lightly well very chopped diced minced sliced grated shredded crushed ground peeled cubed
    melted softened beaten warm hot cold cool lukewarm boiling chilled room temperature boneless
    skinless boned skinned halved quartered cut crumbled mashed toasted roasted washed drained rinsed
    soaked pitted seeded deseeded trimmed packed heaping heaped level scant generous optional organic
    whole plain pure unsalted salted sifted cored julienned squeezed strained thick thin long short
    day-old old your favorite favourite any each every per needed bunches quantity amount and half
    full bite-size bite-sized free-range another sized size firmly loosely tightly stale blanched
    preheated prepared store-bought homemade separated enough sufficient couple shots squeezes mugfuls
    soupspoons threads fluid minus up volume medium-size handfuls assorted pre-cooked precooked thawed
    defrosted hard-boiled lean dash dashes
    """
)

NUMBER_WORDS = _words("one two three four five six seven eight nine ten twelve half quarter")

# In "butter or peanut oil" these are names by themselves, unlike "vegetable" in "vegetable or peanut oil".
STAND_ALONE = _words("oil stock broth vinegar flour sugar milk wine cheese butter cream water margarine lard ghee")

# "ground beef" is another thing than "beef"; "ground cumin" is not another thing than "cumin".
GROUND = _words("beef pork meat lamb turkey chicken veal")
# Where these follow the name they are preparation, not part of it.
AFTERWARDS = _words("chopped diced minced sliced grated optional cloves clove finely peeled")

# In "chicken or vegetable stock" such a last word may belong to both names.
ALTERNATIVE_HEADS = _words(
    """
    oil stock broth vinegar flour sugar sauce cheese onion pepper cream juice milk rice wine bean paste
    powder seed extract syrup yogurt mustard salt butter leaf
    """
)

# Kind of course → words that name it, mostly in titles.
COURSE_WORDS: dict[str, frozenset[str]] = {
    "drink": _words(
        """
        beverage drink cocktail tea coffee juice lemonade smoothie wine beer punch liqueur
        milkshake shake toddy soda mocktail cider
        """
    ),
    "sauce": _words(
        """
        sauce dressing dip salsa marinade chutney gravy pesto mayonnaise rub mix relish spread
        ketchup seasoning vinaigrette condiment paste hummus guacamole mustard masala pickle raita
        jam jelly marmalade butter
        """
    ),
    "sweet": _words(
        """
        cake cookie dessert pudding pie ice candy confection brownie tart frosting icing fudge
        cheesecake cupcake custard mousse sorbet halva chocolate doughnut donut cobbler crumble
        trifle truffle toffee caramel gelato macaroon meringue shortbread gingerbread baklava
        parfait
        """
    ),
    "bread": _words(
        """
        bread pancake muffin biscuit flatbread roll bun waffle scone crepe dough pastry pizza
        tortilla chapati naan roti bagel focaccia dumpling cracker pretzel loaf breakfast porridge
        cereal granola toast oatmeal
        """
    ),
    "soup": _words(
        """
        soup stew chili chowder broth gumbo bisque stock borscht goulash pottage ragout tagine
        casserole hotpot curry wat dal daal
        """
    ),
    "salad": _words("salad slaw coleslaw tabbouleh"),
    "grain": _words(
        """
        rice pasta spaghetti noodle lasagna lasagne macaroni risotto pilaf couscous jollof paella
        biryani gnocchi polenta ravioli fettuccine bulgur
        """
    ),
    "fish": _words(
        """
        fish salmon shrimp prawn tuna cod seafood crab clam tilapia oyster lobster squid ceviche
        scallop mackerel herring catfish sardine mussel
        """
    ),
    "meat": _words(
        """
        chicken beef pork lamb turkey steak meat sausage meatball burger rib duck goat bacon ham
        kebab kabab meatloaf veal wing brisket mutton sandwich hamburger liver poultry taco
        burrito enchilada schnitzel oxtail
        """
    ),
}
