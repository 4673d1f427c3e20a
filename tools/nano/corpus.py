"""Makes the text from which nano's tokenizer learns its words."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from tools.nano import questions

_TAG = re.compile(r"</?(?:think|answer)>")

# Class names: BigEarthNet's 43 and 19, UC Merced's 21, AID's 30 (see the data sets' own papers).
_CLASSES = """
Continuous urban fabric; Discontinuous urban fabric; Industrial or commercial units; Road and rail
networks and associated land; Port areas; Airports; Mineral extraction sites; Dump sites;
Construction sites; Green urban areas; Sport and leisure facilities; Non-irrigated arable land;
Permanently irrigated land; Rice fields; Vineyards; Fruit trees and berry plantations; Olive groves;
Pastures; Annual crops associated with permanent crops; Complex cultivation patterns; Land
principally occupied by agriculture, with significant areas of natural vegetation; Agro-forestry
areas; Broad-leaved forest; Coniferous forest; Mixed forest; Natural grassland; Moors and heathland;
Sclerophyllous vegetation; Transitional woodland/shrub; Beaches, dunes, sands; Bare rock; Sparsely
vegetated areas; Burnt areas; Inland marshes; Peatbogs; Salt marshes; Salines; Intertidal flats;
Water courses; Water bodies; Coastal lagoons; Estuaries; Sea and ocean; Urban fabric; Arable land;
Permanent crops; Natural grassland and sparsely vegetated areas; Moors, heathland and sclerophyllous
vegetation; Transitional woodland, shrub; Inland wetlands; Coastal wetlands; Inland waters; Marine
waters; agricultural; airplane; baseball diamond; beach; buildings; chaparral; dense residential;
forest; freeway; golf course; harbor; intersection; medium residential; mobile home park; overpass;
parking lot; river; runway; sparse residential; storage tanks; tennis court; airport; bare land;
bridge; center; church; commercial; desert; farmland; industrial; meadow; mountain; park;
playground; pond; port; railway station; resort; school; square; stadium; viaduct; basketball court;
ground track field; vehicle; ship; large vehicle; small vehicle; van; swimming pool; helicopter
"""

# Words of EO questions and answers, in sentences, so that they are merged as in real text.
_SENTENCES = """
You are an expert in Earth Observation reasoning. Analyze the problem carefully and provide
step-by-step reasoning and the final response. Keep your explanation clear, logical, and concise.
First output the thinking process in <think> </think> tags and then output the final answer in
<answer> </answer> tags. Answer the question using a single word or phrase. Answer in one word or a
short phrase. Classify the given image in one of the following classes. Classes: Is there a road
present in the image? What is the number of residential buildings? What is the amount of water
areas? Are there more commercial buildings than roads? Are there less farmlands than forests? Is the
number of grass areas equal to the number of orchards next to a large rectangular building? Is it a
rural or an urban area? Give me the location of the object. What object is present in this
location? Describe the image in detail and give the bounding boxes of the objects. Detect all
objects and answer with their boxes. Which land-cover classes are present? Answer with class names
separated by semicolons. What is the damage level of the building at the box in the post-disaster
image? Locate all buildings in the post-disaster image. Identify the destroyed building at the right
of the post-disaster image. Please describe the damage observed in the post-disaster image. Has the
area been affected by a disaster? How many buildings are damaged: none, one, two or many? There has
been a disaster that resulted in one damaged building. Some buildings were built beside the road.
The scene is the same as before. Many green trees are near a river. There are two planes parked on
the ground. A gray small medium large object at the top left, top, top right, center, bottom left,
bottom, bottom right of the image. The first image was taken before, the second after the event.
between 0 and 10; between 10 and 100; between 100 and 1000; more than 1000; yes; no; rural; urban
"""


def text(*, n: int = 6000, seed: int = 0) -> Iterator[str]:
    """Return `n` random questions with answers, then EO phrases, repeated to equal weight."""
    rng = np.random.default_rng(seed)
    for _ in range(n):
        example = questions.draw(rng, tagged=1.0)
        question = example.question.removesuffix(questions.INSTRUCTION)
        yield question + _TAG.sub(" ", example.text)
    classes = [name.strip() for name in _CLASSES.replace("\n", " ").split(";")]
    sentences = " ".join(_SENTENCES.split())
    for repeat in range(n // 40):
        order = rng.permutation(len(classes))
        joint = "; ".join(classes[i] for i in order)
        yield joint if repeat % 2 else ", ".join(classes[i].lower() for i in order)
        yield sentences
