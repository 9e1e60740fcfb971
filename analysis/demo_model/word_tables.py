"""Tables behind the demo tasks, one row a line: words in five languages, and countries."""

from typing import NamedTuple

NO_WORD = "-"
"""Fills a cell that has no word."""


class Word(NamedTuple):
    """One thing in five languages."""

    english: str
    french: str
    spanish: str
    german: str
    italian: str


class Country(NamedTuple):
    """A country and what belongs to it, one word each."""

    country: str
    capital: str
    language: str
    continent: str
    currency: str
    nationality: str


def _table(block: str) -> list[list[str]]:
    """Split a block into rows at its lines, and each row at white space."""
    return [row.split() for row in block.strip().splitlines()]


# A dash stands for a word that the demo model was not taught: most are the English word, or more than one word.
WORDS = tuple(
    Word(*row)
    for row in _table("""
    dog        chien      perro       Hund      cane
    cat        chat       gato        Katze     gatto
    horse      cheval     caballo     Pferd     cavallo
    cow        vache      vaca        Kuh       mucca
    pig        cochon     cerdo       Schwein   maiale
    sheep      mouton     oveja       Schaf     pecora
    goat       chèvre     cabra       Ziege     capra
    tiger      tigre      -           -         tigre
    bear       ours       oso         Bär       orso
    wolf       loup       lobo        -         lupo
    fox        renard     zorro       Fuchs     volpe
    rabbit     lapin      conejo      Hase      coniglio
    mouse      souris     ratón       Maus      topo
    monkey     singe      mono        Affe      scimmia
    frog       grenouille rana        Frosch    rana
    snake      serpent    serpiente   Schlange  serpente
    turtle     tortue     tortuga     -         tartaruga
    whale      baleine    ballena     Wal       balena
    shark      requin     tiburón     Hai       squalo
    eagle      aigle      águila      Adler     aquila
    owl        hibou      búho        Eule      gufo
    duck       canard     pato        Ente      anatra
    swan       cygne      cisne       Schwan    cigno
    hen        poule      -           -         -
    bee        abeille    abeja       Biene     ape
    ant        fourmi     hormiga     Ameise    formica
    spider     araignée   araña       Spinne    ragno
    apple      pomme      manzana     Apfel     mela
    pear       poire      pera        Birne     pera
    peach      pêche      melocotón   Pfirsich  pesca
    cherry     cerise     cereza      Kirsche   ciliegia
    grape      raisin     uva         Traube    uva
    lemon      citron     limón       Zitrone   limone
    strawberry fraise     fresa       Erdbeere  fragola
    pineapple  ananas     piña        -         -
    red        rouge      rojo        -         rosso
    blue       bleu       azul        -         blu
    green      vert       verde       -         verde
    yellow     jaune      amarillo    -         giallo
    pink       rose       rosa        -         rosa
    brown      brun       marrón      -         marrone
    black      noir       negro       -         nero
    white      blanc      blanco      -         bianco
    gray       gris       gris        -         grigio
    head       tête       cabeza      Kopf      testa
    arm        bras       brazo       -         braccio
    leg        jambe      pierna      Bein      gamba
    hand       main       mano        -         mano
    foot       pied       pie         Fuß       piede
    finger     doigt      dedo        -         dito
    knee       genou      rodilla     Knie      ginocchio
    shoulder   épaule     hombro      Schulter  spalla
    neck       cou        cuello      Hals      collo
    nose       nez        nariz       Nase      naso
    ear        oreille    oreja       Ohr       orecchio
    eye        œil        ojo         Auge      occhio
    mouth      bouche     boca        Mund      bocca
    tooth      dent       diente      Zahn      dente
    tongue     langue     lengua      Zunge     lingua
    heart      cœur       corazón     Herz      cuore
    bone       os         hueso       Knochen   osso
    shirt      chemise    camisa      Hemd      camicia
    coat       manteau    abrigo      Mantel    cappotto
    hat        chapeau    sombrero    Hut       cappello
    shoe       chaussure  zapato      Schuh     scarpa
    dress      robe       vestido     Kleid     abito
    skirt      jupe       falda       Rock      gonna
    glove      gant       guante      Handschuh guanto
    car        voiture    coche       -         macchina
    bus        autobus    -           -         autobus
    bicycle    vélo       bicicleta   Fahrrad   bicicletta
    boat       bateau     barco       Boot      barca
    ship       navire     buque       Schiff    nave
    plane      avion      avión       Flugzeug  aereo
    teacher    professeur profesor    Lehrer    insegnante
    doctor     médecin    médico      Arzt      medico
    nurse      infirmière enfermera   -         infermiera
    farmer     fermier    granjero    Bauer     contadino
    baker      boulanger  panadero    Bäcker    fornaio
    lawyer     avocat     abogado     Anwalt    avvocato
    butcher    boucher    carnicero   Metzger   -
    chair      chaise     silla       Stuhl     sedia
    bed        lit        cama        Bett      letto
    desk       bureau     escritorio  -         scrivania
    mirror     miroir     espejo      Spiegel   specchio
    hammer     marteau    martillo    -         martello
    knife      couteau    cuchillo    Messer    coltello
    fork       fourchette tenedor     Gabel     forchetta
    spoon      cuillère   cuchara     Löffel    cucchiaio
    key        clé        llave       Schlüssel chiave
    bread      pain       pan         Brot      pane
    cheese     fromage    queso       Käse      formaggio
    butter     beurre     mantequilla -         burro
    rice       riz        arroz       Reis      riso
    soup       soupe      sopa        Suppe     zuppa
    egg        œuf        huevo       Ei        uovo
    meat       viande     carne       Fleisch   carne
    cake       gâteau     pastel      Kuchen    torta
    honey      miel       miel        Honig     miele
    sugar      sucre      azúcar      Zucker    zucchero
    salt       sel        sal         Salz      sale
    house      maison     casa        Haus      casa
    church     église     iglesia     Kirche    chiesa
    school     école      escuela     Schule    scuola
    hospital   hôpital    -           -         -
    castle     château    castillo    Schloss   castello
    tree       arbre      árbol       Baum      albero
    flower     fleur      flor        Blume     fiore
    river      rivière    río         Fluss     fiume
    sea        mer        mar         Meer      mare
    forest     forêt      bosque      Wald      foresta
    island     île        isla        Insel     isola
    beach      plage      playa       Strand    spiaggia
    stone      pierre     piedra      Stein     pietra
    sun        soleil     sol         Sonne     sole
    moon       lune       luna        Mond      luna
    star       étoile     estrella    Stern     stella
    rain       pluie      lluvia      Regen     pioggia
    snow       neige      nieve       Schnee    neve
    leaf       feuille    hoja        Blatt     foglia
    sky        ciel       cielo       Himmel    cielo
    tomato     tomate     -           -         -
    onion      oignon     cebolla     Zwiebel   cipolla
    table      -          -           Tisch     tavolo
    lion       -          -           -         leone
""")
)
"""English, French, Spanish, German, Italian."""

# Names of two words are cut to the first, so that each is one token: Addis, Buenos, Port. Countries with
# several languages have one, the one that the demo model was taught.
COUNTRIES = tuple(
    Country(*row)
    for row in _table("""
    France      Paris       French     Europe  euro      French
    Germany     Berlin      German     Europe  euro      German
    Spain       Madrid      Spanish    Europe  euro      Spanish
    Italy       Rome        Italian    Europe  euro      Italian
    Portugal    Lisbon      Portuguese Europe  euro      Portuguese
    Greece      Athens      Greek      Europe  euro      Greek
    Poland      Warsaw      Polish     Europe  zloty     Polish
    Russia      Moscow      Russian    Europe  ruble     Russian
    Ukraine     Kyiv        Ukrainian  Europe  hryvnia   Ukrainian
    Sweden      Stockholm   Swedish    Europe  krona     Swedish
    Norway      Oslo        Norwegian  Europe  krone     Norwegian
    Denmark     Copenhagen  Danish     Europe  krone     Danish
    Finland     Helsinki    Finnish    Europe  euro      Finnish
    Netherlands Amsterdam   Dutch      Europe  euro      Dutch
    Belgium     Brussels    Dutch      Europe  euro      Belgian
    Austria     Vienna      German     Europe  euro      Austrian
    Switzerland Bern        German     Europe  franc     Swiss
    Hungary     Budapest    Hungarian  Europe  forint    Hungarian
    Romania     Bucharest   Romanian   Europe  leu       Romanian
    Bulgaria    Sofia       Bulgarian  Europe  lev       Bulgarian
    Serbia      Belgrade    Serbian    Europe  dinar     Serbian
    Croatia     Zagreb      Croatian   Europe  euro      Croatian
    Ireland     Dublin      English    Europe  euro      Irish
    England     London      English    Europe  pound     English
    Iceland     Reykjavik   Icelandic  Europe  krona     Icelandic
    Turkey      Ankara      Turkish    Asia    lira      Turkish
    Iran        Tehran      Persian    Asia    rial      Iranian
    Iraq        Baghdad     Arabic     Asia    dinar     Iraqi
    Israel      Jerusalem   Hebrew     Asia    shekel    Israeli
    Jordan      Amman       Arabic     Asia    dinar     Jordanian
    Lebanon     Beirut      Arabic     Asia    pound     Lebanese
    Syria       Damascus    Arabic     Asia    pound     Syrian
    India       Delhi       Hindi      Asia    rupee     Indian
    Pakistan    Islamabad   Urdu       Asia    rupee     Pakistani
    Nepal       Kathmandu   Nepali     Asia    rupee     Nepali
    China       Beijing     Chinese    Asia    yuan      Chinese
    Japan       Tokyo       Japanese   Asia    yen       Japanese
    Korea       Seoul       Korean     Asia    won       Korean
    Vietnam     Hanoi       Vietnamese Asia    dong      Vietnamese
    Thailand    Bangkok     Thai       Asia    baht      Thai
    Indonesia   Jakarta     Indonesian Asia    rupiah    Indonesian
    Malaysia    Putrajaya   Malay      Asia    ringgit   Malaysian
    Philippines Manila      Filipino   Asia    peso      Filipino
    Mongolia    Ulaanbaatar Mongolian  Asia    tugrik    Mongolian
    Egypt       Cairo       Arabic     Africa  pound     Egyptian
    Libya       Tripoli     Arabic     Africa  dinar     Libyan
    Morocco     Rabat       Arabic     Africa  dirham    Moroccan
    Tunisia     Tunis       Arabic     Africa  dinar     Tunisian
    Algeria     Algiers     Arabic     Africa  dinar     Algerian
    Kenya       Nairobi     Swahili    Africa  shilling  Kenyan
    Tanzania    Dodoma      Swahili    Africa  shilling  Tanzanian
    Uganda      Kampala     English    Africa  shilling  Ugandan
    Nigeria     Abuja       English    Africa  naira     Nigerian
    Ghana       Accra       English    Africa  cedi      Ghanaian
    Ethiopia    Addis       Amharic    Africa  birr      Ethiopian
    Somalia     Mogadishu   Somali     Africa  shilling  Somali
    Senegal     Dakar       French     Africa  franc     Senegalese
    Angola      Luanda      Portuguese Africa  kwanza    Angolan
    Zambia      Lusaka      English    Africa  kwacha    Zambian
    Canada      Ottawa      English    America dollar    Canadian
    Cuba        Havana      Spanish    America peso      Cuban
    Jamaica     Kingston    English    America dollar    Jamaican
    Haiti       Port        French     America gourde    Haitian
    Brazil      Brasilia    Portuguese America real      Brazilian
    Argentina   Buenos      Spanish    America peso      Argentine
    Chile       Santiago    Spanish    America peso      Chilean
    Peru        Lima        Spanish    America sol       Peruvian
    Colombia    Bogota      Spanish    America peso      Colombian
    Venezuela   Caracas     Spanish    America bolivar   Venezuelan
    Ecuador     Quito       Spanish    America dollar    Ecuadorian
    Bolivia     Sucre       Spanish    America boliviano Bolivian
    Uruguay     Montevideo  Spanish    America peso      Uruguayan
    Paraguay    Asuncion    Spanish    America guarani   Paraguayan
    Australia   Canberra    English    Oceania dollar    Australian
    Fiji        Suva        English    Oceania dollar    Fijian
""")
)
"""Country, capital, language, continent, currency, nationality."""
