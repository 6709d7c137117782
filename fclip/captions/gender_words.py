"""English words of gender, for `caption.gender: neutral`: what is left out, what is replaced, what is a name."""

LEFT_OUT = (
    "men", "man", "mens", "women", "woman", "womens", "male", "males", "female", "females", "lady", "ladies", "gent",
    "gents", "gentleman", "gentlemen",
)  # fmt: skip
"""Of grown people: without them a text says the same of anyone."""

REPLACED = {
    "boy": "kid",
    "boys": "kids",
    "girl": "kid",
    "girls": "kids",
    "menswear": "clothing",
    "womenswear": "clothing",
    "ladieswear": "clothing",
    "boyswear": "kidswear",
    "girlswear": "kidswear",
}
"""What says something else too (that it is for children, that it is clothing), and a word for that alone."""

NAMES = (
    "Bad Boy", "Boy London", "Gentlemen's Club", "Iron Man", "Isle of Man", "Lady Gaga", "Man United", "Man Utd",
    "Men At Work", "Men in Black", "Mr. Men", "Mr Men", "Mr.Men", "Powerpuff Girls", "Spice Girls", "Wonder Woman",
)  # fmt: skip
"""Names with such words in them, kept as they are wherever they stand, as is the product's own attribute `brand`."""
