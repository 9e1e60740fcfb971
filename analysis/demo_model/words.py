"""English words behind the demo tasks, written by hand; every word is one token of the demo model."""

from typing import NamedTuple

Pair = tuple[str, str]


class Verb(NamedTuple):
    """Five forms of a verb."""

    present: str
    past: str
    gerund: str
    third: str
    participle: str


class Comparison(NamedTuple):
    """Three forms of an adjective."""

    adjective: str
    comparative: str
    superlative: str


def _words(block: str) -> tuple[str, ...]:
    """Split a block of words at white space."""
    return tuple(block.split())


def _rows(block: str) -> list[list[str]]:
    """Split a block of rows at white space, and each row at its colons."""
    return [row.split(":") for row in block.split()]


def _pairs(block: str) -> tuple[Pair, ...]:
    """Read a block of "input:output" rows."""
    return tuple((x, y) for x, y in _rows(block))


NOUNS = {
    "animal": _words("""
        dog cat horse cow pig sheep goat lion tiger bear wolf fox rabbit mouse rat deer monkey elephant giraffe
        zebra camel donkey frog snake turtle lizard whale dolphin shark eagle owl crow duck goose swan hen
        penguin bee ant spider
    """),
    "fruit": _words("""
        apple banana pear peach plum cherry grape lemon lime mango melon kiwi fig strawberry raspberry
        blueberry pineapple apricot papaya coconut
    """),
    "color": _words("""
        red blue green yellow purple pink brown black white gray violet crimson turquoise beige maroon indigo
    """),
    "body": _words("""
        head arm leg hand foot finger toe knee elbow shoulder neck nose ear eye mouth tooth tongue heart lung
        stomach hair skin bone wrist ankle
    """),
    "clothing": _words("""
        shirt coat hat shoe sock dress skirt jacket glove scarf belt boot sweater tie vest cap blouse sandal
        robe
    """),
    "vehicle": _words("""
        car bus train truck bicycle boat ship plane tram taxi helicopter motorcycle scooter van wagon canoe
        ferry rocket
    """),
    "job": _words("""
        teacher doctor nurse farmer baker lawyer pilot sailor soldier painter writer singer actor driver
        butcher carpenter plumber dentist judge engineer tailor waiter barber chef librarian
    """),
    "furniture": _words("""
        chair table bed sofa desk lamp shelf mirror cupboard bench stool wardrobe drawer carpet curtain
    """),
    "tool": _words("""
        hammer saw drill wrench knife fork spoon shovel rake axe needle brush scissors key rope bucket ladder
    """),
    "food": _words("""
        bread cheese butter rice soup egg meat cake salad pasta honey sugar salt pepper chocolate biscuit
        sausage pie
    """),
    "instrument": _words("piano violin guitar drum flute trumpet harp cello clarinet organ banjo accordion"),
    "building": _words("""
        house church school hospital castle library museum prison tower hotel factory barn temple bank palace
    """),
    "nature": _words("""
        tree flower river mountain lake sea forest island desert beach valley stone sun moon star cloud rain
        snow wind grass leaf field sky hill
    """),
    "vegetable": _words("carrot potato onion tomato cabbage spinach bean pea garlic cucumber lettuce radish"),
}
"""Nouns by category."""

IRREGULAR_PLURALS = _pairs("""
    mouse:mice sheep:sheep deer:deer wolf:wolves goose:geese foot:feet tooth:teeth knife:knives shelf:shelves
    leaf:leaves scarf:scarves loaf:loaves scissors:scissors man:men woman:women child:children ox:oxen
""")
"""Singular and plural; some nouns here are in no category."""

WITHOUT_PLURAL = _words("""
    bread butter chocolate garlic grass hair honey hotel lettuce meat pasta pepper rain rice salt scissors skin sky
    snow spinach sugar wind
""")
"""Nouns that the tasks with plurals leave out: most are not counted."""

ANTONYM_ADJECTIVES = _pairs("""
    hot:cold big:small tall:short fast:slow happy:sad old:young rich:poor strong:weak hard:soft light:heavy
    dark:bright wet:dry full:empty clean:dirty good:bad high:low long:brief wide:narrow thick:thin loud:quiet
    early:late easy:difficult open:closed sharp:blunt smooth:rough sweet:sour deep:shallow near:far brave:cowardly
    cheap:expensive safe:dangerous kind:cruel polite:rude calm:angry clever:stupid alive:dead true:false
    right:wrong fat:lean beautiful:ugly modern:ancient rare:common simple:complex lazy:diligent generous:selfish
    honest:deceitful healthy:sick tight:loose public:private guilty:innocent visible:invisible legal:illegal
    possible:impossible perfect:flawed proud:humble noisy:silent fresh:stale mature:childish awake:asleep
""")
"""Adjectives and their opposites."""

OTHER_ANTONYMS = _pairs("""
    day:night love:hate up:down win:lose buy:sell begin:end arrive:depart push:pull give:take friend:enemy
""")
"""Opposites that are no adjectives."""

SYNONYMS = _pairs("""
    hot:scorching cold:chilly big:large small:little fast:quick slow:sluggish happy:glad sad:unhappy old:elderly
    young:youthful rich:wealthy poor:needy strong:powerful weak:feeble hard:firm soft:tender heavy:weighty dark:dim
    wet:damp dry:arid empty:vacant clean:spotless dirty:filthy good:fine bad:awful wide:broad thick:dense thin:slim
    loud:noisy quiet:silent easy:effortless difficult:tough sharp:keen rough:coarse sour:tart near:close
    far:distant brave:courageous cheap:inexpensive expensive:costly safe:secure dangerous:risky kind:gentle
    cruel:brutal polite:courteous rude:impolite calm:peaceful angry:furious clever:smart stupid:foolish
    dead:deceased true:correct false:untrue beautiful:pretty ugly:hideous modern:contemporary ancient:antique
    rare:scarce common:usual simple:plain complex:intricate lazy:idle diligent:hardworking honest:truthful
    healthy:fit sick:ill begin:start end:finish buy:purchase friend:companion enemy:foe tall:towering short:tiny
    bright:radiant tight:taut loose:slack proud:arrogant humble:modest perfect:flawless
""")
"""Words and others of about the same meaning."""

COMPARISONS = tuple(
    Comparison(*row)
    for row in _rows("""
    hot:hotter:hottest cold:colder:coldest big:bigger:biggest small:smaller:smallest tall:taller:tallest
    short:shorter:shortest fast:faster:fastest slow:slower:slowest happy:happier:happiest sad:sadder:saddest
    old:older:oldest young:younger:youngest rich:richer:richest poor:poorer:poorest strong:stronger:strongest
    weak:weaker:weakest hard:harder:hardest soft:softer:softest light:lighter:lightest heavy:heavier:heaviest
    dark:darker:darkest bright:brighter:brightest wet:wetter:wettest dry:drier:driest clean:cleaner:cleanest
    dirty:dirtier:dirtiest good:better:best bad:worse:worst high:higher:highest low:lower:lowest wide:wider:widest
    narrow:narrower:narrowest thick:thicker:thickest thin:thinner:thinnest loud:louder:loudest
    quiet:quieter:quietest easy:easier:easiest sharp:sharper:sharpest smooth:smoother:smoothest
    rough:rougher:roughest sweet:sweeter:sweetest deep:deeper:deepest cheap:cheaper:cheapest safe:safer:safest
    kind:kinder:kindest brave:braver:bravest calm:calmer:calmest angry:angrier:angriest clever:cleverer:cleverest
    rare:rarer:rarest proud:prouder:proudest lazy:lazier:laziest
""")
)
"""Adjectives, comparatives and superlatives."""

ADVERBS = _pairs("""
    slow:slowly happy:happily sad:sadly strong:strongly weak:weakly soft:softly heavy:heavily bright:brightly
    clean:cleanly good:well bad:badly wide:widely loud:loudly quiet:quietly easy:easily sharp:sharply
    smooth:smoothly rough:roughly sweet:sweetly deep:deeply cheap:cheaply safe:safely kind:kindly brave:bravely
    calm:calmly angry:angrily clever:cleverly rare:rarely proud:proudly lazy:lazily beautiful:beautifully
    honest:honestly polite:politely rude:rudely dangerous:dangerously perfect:perfectly simple:simply
    common:commonly generous:generously cruel:cruelly
""")
"""Adjectives and their adverbs."""

ADJECTIVE_NOUNS = _pairs("""
    hot:heat big:bigness tall:tallness slow:slowness happy:happiness sad:sadness rich:richness poor:poverty
    strong:strength weak:weakness soft:softness light:lightness heavy:heaviness dark:darkness bright:brightness
    wet:wetness dry:dryness clean:cleanliness dirty:dirtiness good:goodness bad:badness high:height wide:width
    thick:thickness thin:thinness loud:loudness quiet:quietness easy:ease sharp:sharpness smooth:smoothness
    rough:roughness sweet:sweetness deep:depth cheap:cheapness safe:safety kind:kindness brave:bravery
    calm:calmness angry:anger clever:cleverness rare:rarity proud:pride lazy:laziness beautiful:beauty
    honest:honesty dangerous:danger perfect:perfection simple:simplicity generous:generosity cruel:cruelty
    long:length old:oldness young:youth true:truth free:freedom healthy:health guilty:guilt innocent:innocence
    ancient:antiquity
""")
"""Adjectives and the nouns of the same stem."""

VERBS = tuple(
    Verb(*row)
    for row in _rows("""
    go:went:going:goes:gone run:ran:running:runs:run eat:ate:eating:eats:eaten drink:drank:drinking:drinks:drunk
    make:made:making:makes:made take:took:taking:takes:taken give:gave:giving:gives:given
    write:wrote:writing:writes:written sing:sang:singing:sings:sung swim:swam:swimming:swims:swum
    fly:flew:flying:flies:flown drive:drove:driving:drives:driven speak:spoke:speaking:speaks:spoken
    break:broke:breaking:breaks:broken choose:chose:choosing:chooses:chosen fall:fell:falling:falls:fallen
    grow:grew:growing:grows:grown know:knew:knowing:knows:known throw:threw:throwing:throws:thrown
    wear:wore:wearing:wears:worn sleep:slept:sleeping:sleeps:slept keep:kept:keeping:keeps:kept
    feel:felt:feeling:feels:felt think:thought:thinking:thinks:thought bring:brought:bringing:brings:brought
    buy:bought:buying:buys:bought catch:caught:catching:catches:caught teach:taught:teaching:teaches:taught
    sell:sold:selling:sells:sold tell:told:telling:tells:told find:found:finding:finds:found
    hold:held:holding:holds:held stand:stood:standing:stands:stood win:won:winning:wins:won
    lose:lost:losing:loses:lost sit:sat:sitting:sits:sat send:sent:sending:sends:sent
    walk:walked:walking:walks:walked talk:talked:talking:talks:talked jump:jumped:jumping:jumps:jumped
    laugh:laughed:laughing:laughs:laughed cry:cried:crying:cries:cried play:played:playing:plays:played
    work:worked:working:works:worked cook:cooked:cooking:cooks:cooked dance:danced:dancing:dances:danced
    smile:smiled:smiling:smiles:smiled begin:began:beginning:begins:begun push:pushed:pushing:pushes:pushed
    pull:pulled:pulling:pulls:pulled climb:climbed:climbing:climbs:climbed help:helped:helping:helps:helped
    wash:washed:washing:washes:washed listen:listened:listening:listens:listened
    learn:learned:learning:learns:learned arrive:arrived:arriving:arrives:arrived
    carry:carried:carrying:carries:carried study:studied:studying:studies:studied hope:hoped:hoping:hopes:hoped
    ride:rode:riding:rides:ridden hide:hid:hiding:hides:hidden shake:shook:shaking:shakes:shaken
    steal:stole:stealing:steals:stolen freeze:froze:freezing:freezes:frozen
    forget:forgot:forgetting:forgets:forgotten dig:dug:digging:digs:dug
""")
)
"""Verbs: present, past, gerund, third person, past participle."""

AGENTS = _pairs("""
    teach:teacher write:writer sing:singer dance:dancer drive:driver bake:baker paint:painter build:builder
    run:runner swim:swimmer work:worker walk:walker speak:speaker win:winner lose:loser play:player climb:climber
    learn:learner listen:listener help:helper ride:rider jump:jumper eat:eater drink:drinker sleep:sleeper
    sell:seller buy:buyer think:thinker send:sender catch:catcher throw:thrower hold:holder find:finder give:giver
    keep:keeper dig:digger talk:talker
""")
"""Verbs and those who do it."""

OBJECT_COLORS = _pairs("""
    banana:yellow lemon:yellow sun:yellow cheese:yellow honey:yellow grass:green leaf:green frog:green
    lettuce:green cucumber:green lime:green pea:green cabbage:green spinach:green sky:blue sea:blue blueberry:blue
    dolphin:gray whale:gray strawberry:red cherry:red tomato:red raspberry:red heart:red apple:red snow:white
    salt:white swan:white sugar:white rice:white egg:white cloud:white tooth:white bone:white crow:black
    penguin:black night:black pepper:black coal:black chocolate:brown bear:brown potato:brown bread:brown
    horse:brown deer:brown piano:black elephant:gray mouse:gray stone:gray rat:gray plum:purple grape:purple
    pig:pink tongue:pink lion:yellow
""")
"""Things and their usual color."""

OBJECT_MATERIALS = _pairs("""
    chair:wood table:wood bed:wood desk:wood shelf:wood cupboard:wood bench:wood stool:wood wardrobe:wood
    drawer:wood ladder:wood barn:wood guitar:wood violin:wood canoe:wood shirt:cotton sock:cotton dress:silk
    blouse:silk tie:silk sweater:wool scarf:wool coat:wool glove:leather shoe:leather boot:leather belt:leather
    sandal:leather jacket:leather hammer:iron saw:steel drill:steel wrench:steel knife:steel fork:silver
    spoon:silver shovel:iron rake:iron axe:iron needle:steel bucket:plastic mirror:glass lamp:glass key:brass
    trumpet:brass castle:stone church:stone tower:stone palace:marble temple:marble house:brick school:brick
    prison:brick factory:concrete hospital:concrete rope:hemp carpet:wool curtain:cotton robe:cotton car:steel
    train:steel ship:steel bicycle:steel plane:aluminium rocket:titanium
""")
"""Things and what they are usually made of."""

ANIMAL_YOUNG = _pairs("""
    dog:puppy cat:kitten horse:foal cow:calf pig:piglet sheep:lamb goat:kid lion:cub tiger:cub bear:cub wolf:pup
    fox:kit rabbit:bunny deer:fawn monkey:infant elephant:calf giraffe:calf zebra:foal camel:calf donkey:foal
    frog:tadpole snake:snakelet turtle:hatchling whale:calf dolphin:calf shark:pup eagle:eaglet owl:owlet
    duck:duckling goose:gosling swan:cygnet hen:chick penguin:chick bee:larva spider:spiderling mouse:pinkie
    rat:pup crow:chick lizard:hatchling ant:larva
""")
"""Animals and their young."""

ANIMAL_SOUNDS = _pairs("""
    dog:bark cat:meow horse:neigh cow:moo pig:oink sheep:baa goat:bleat lion:roar tiger:growl bear:growl wolf:howl
    fox:yelp rabbit:squeak mouse:squeak rat:squeak monkey:chatter elephant:trumpets donkey:bray frog:croak
    snake:hiss whale:song dolphin:click eagle:screech owl:hoot crow:caw duck:quack goose:honk hen:cluck bee:buzz
    deer:bellow camel:grunt penguin:honk turtle:hiss swan:honk
""")
"""Animals and the sound they make."""

ANIMAL_HABITATS = _pairs("""
    dog:kennel horse:stable pig:sty sheep:pen lion:savanna tiger:jungle bear:den wolf:den fox:burrow rabbit:burrow
    mouse:hole rat:sewer deer:woods monkey:jungle elephant:savanna giraffe:savanna zebra:savanna camel:dunes
    frog:pond snake:pit turtle:reef whale:ocean dolphin:ocean shark:ocean eagle:nest owl:nest crow:nest duck:pond
    goose:pond swan:pond hen:coop penguin:ice bee:hive ant:anthill spider:web goat:cliff donkey:stable
""")
"""Animals and where they live."""

JOB_PLACES = _pairs("""
    teacher:school doctor:hospital nurse:hospital farmer:field baker:bakery lawyer:court pilot:cockpit
    sailor:harbor soldier:army painter:studio singer:stage actor:theater driver:road butcher:shop
    carpenter:workshop dentist:clinic judge:court engineer:laboratory tailor:shop waiter:restaurant barber:salon
    chef:kitchen librarian:library writer:office plumber:bathroom
""")
"""Jobs and where they are done."""

JOB_TOOLS = _pairs("""
    teacher:chalk doctor:stethoscope nurse:syringe farmer:tractor baker:oven lawyer:contract pilot:plane
    sailor:anchor soldier:rifle painter:brush singer:microphone actor:script driver:wheel butcher:cleaver
    carpenter:hammer dentist:drill judge:gavel engineer:computer tailor:needle waiter:tray barber:razor
    librarian:book writer:pen plumber:wrench
""")
"""Jobs and what they are done with."""

NUMBERS = _words("""
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
    eighteen nineteen twenty
""")
"""Numbers in order, from zero."""

DAYS = _words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
"""Days of the week in order."""

MONTHS = _words("January February March April May June July August September October November December")
"""Months in order."""

LETTERS = _words("a b c d e f g h i j k l m n o p q r s t u v w x y z")
"""Letters in order."""
