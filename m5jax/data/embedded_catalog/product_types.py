"""The departments and product types of the catalog. Brands are invented and the same in every locale."""

import dataclasses

from m5jax.data.embedded_catalog.languages import Translated, translated


@dataclasses.dataclass(frozen=True)
class Department:
    """A department with the brands that make its products."""

    name: Translated
    brands: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class ProductType:
    """`use` completes "made ..."; the first of `attributes` are the ones that a variant differs in."""

    key: str
    department: str
    name: Translated
    use: Translated
    attributes: tuple[str, ...]
    complements: tuple[str, ...]


def _department(name: Translated, brands: str) -> Department:
    return Department(name, tuple(brands.split()))


DEPARTMENTS: dict[str, Department] = {
    "kitchen": _department(("Kitchen", "Küche", "المطبخ"), "Nordvik Culinara Topfheld Brewmont Saffra"),
    "electronics": _department(
        ("Electronics", "Elektronik", "الإلكترونيات"), "Voltaro Soniq Lumatek Kyra Pixelon Zentro"
    ),
    "clothing": _department(("Clothing", "Bekleidung", "الملابس"), "Alderby Modena Weft Lienna Tarif"),
    "shoes": _department(("Shoes", "Schuhe", "الأحذية"), "Stridex Wanderly Pasora Terrano"),
    "home": _department(("Home", "Wohnen", "المنزل"), "Hygelle Casanora Dunehaus Softwell Layan"),
    "beauty": _department(("Beauty", "Pflege", "العناية والجمال"), "Florabel Purelle Nacré Jasmara"),
    "sports": _department(
        ("Sports and outdoors", "Sport und Freizeit", "الرياضة والرحلات"), "Alpenro Trekka Fitoro Summita"
    ),
    "office": _department(("Office", "Büro", "المكتب"), "Papyra Skriva Ergonix Deskwell"),
    "toys": _department(("Toys", "Spielzeug", "الألعاب"), "Bricolo Kiddora Ludwell"),
    "garden": _department(
        ("Tools and garden", "Werkzeug und Garten", "الأدوات والحديقة"), "Werkmann Gardea Torvek Greenly"
    ),
    "pets": _department(("Pets", "Haustierbedarf", "الحيوانات الأليفة"), "Pawlo Felina Happytail"),
    "grocery": _department(("Grocery", "Lebensmittel", "البقالة"), "Verdano Solara Monteca Karam"),
}


def _type(
    key: str, department: str, names: str, uses: str, attributes: str, complements: str
) -> tuple[str, ProductType]:
    """Names and uses are given as `english|german|arabic`."""
    name, use = translated(names), translated(uses)
    return key, ProductType(key, department, name, use, tuple(attributes.split()), tuple(complements.split()))


# fmt: off
PRODUCT_TYPES: dict[str, ProductType] = dict([
    _type("coffee_machine", "kitchen", "Coffee machine|Kaffeemaschine|ماكينة قهوة",
          "for fresh coffee every morning|für frischen Kaffee am Morgen|لتحضير قهوة طازجة كل صباح",
          "color capacity_l power warranty", "coffee_beans mug"),
    _type("kettle", "kitchen", "Kettle|Wasserkocher|غلاية ماء",
          "for boiling water in minutes|für kochendes Wasser in wenigen Minuten|لغلي الماء في دقائق",
          "capacity_l color power kitchen_material", "green_tea mug"),
    _type("blender", "kitchen", "Blender|Standmixer|خلاط",
          "for smoothies and soups|für Smoothies und Suppen|لتحضير العصائر والشوربات",
          "color power capacity_l dishwasher_safe", "water_bottle"),
    _type("toaster", "kitchen", "Toaster|Toaster|محمصة خبز",
          "for crisp bread at breakfast|für knuspriges Brot zum Frühstück|لتحميص الخبز على الفطور",
          "color power warranty", "honey"),
    _type("frying_pan", "kitchen", "Frying pan|Bratpfanne|مقلاة",
          "for frying with little oil|für das Braten mit wenig Öl|للقلي بزيت قليل",
          "diameter kitchen_material dishwasher_safe", "cooking_pot olive_oil"),
    _type("cooking_pot", "kitchen", "Cooking pot|Kochtopf|قدر طبخ",
          "for soups and stews|für Suppen und Eintöpfe|لطهي الشوربات واليخنات",
          "capacity_l kitchen_material diameter dishwasher_safe", "frying_pan chef_knife"),
    _type("chef_knife", "kitchen", "Chef's knife|Kochmesser|سكين طاهٍ",
          "for cutting meat and vegetables|für das Schneiden von Fleisch und Gemüse|لتقطيع اللحم والخضار",
          "blade_length color dishwasher_safe", "cooking_pot"),
    _type("mug", "kitchen", "Mug|Becher|كوب",
          "for hot drinks|für heiße Getränke|لتقديم المشروبات الساخنة",
          "color capacity_ml kitchen_material dishwasher_safe", "coffee_beans green_tea"),
    _type("water_bottle", "kitchen", "Water bottle|Trinkflasche|قارورة ماء",
          "for drinks on the go|für Getränke unterwegs|لحمل المشروبات أثناء التنقل",
          "color capacity_ml kitchen_material", "backpack lunch_box"),
    _type("lunch_box", "kitchen", "Lunch box|Brotdose|علبة طعام",
          "for meals at school and work|für Mahlzeiten in Schule und Büro|لحفظ الوجبات في المدرسة والعمل",
          "color capacity_ml dishwasher_safe", "water_bottle"),
    _type("headphones", "electronics", "Headphones|Kopfhörer|سماعات رأس",
          "for music without noise|für Musik ohne Störgeräusche|للاستماع إلى الموسيقى بلا ضوضاء",
          "color battery_life connectivity", "phone_case charger"),
    _type("speaker", "electronics", "Speaker|Lautsprecher|مكبر صوت",
          "for clear sound in every room|für klaren Klang in jedem Raum|لصوت نقي في كل غرفة",
          "color battery_life connectivity waterproof", "charger usb_cable"),
    _type("power_bank", "electronics", "Power bank|Powerbank|بطارية متنقلة",
          "for charging on the road|für das Laden unterwegs|للشحن أثناء السفر",
          "battery color charging_power plug", "usb_cable"),
    _type("usb_cable", "electronics", "Charging cable|Ladekabel|كابل شحن",
          "for phones and tablets|für Telefone und Tablets|لشحن الهواتف والأجهزة اللوحية",
          "cable_length plug color", "charger power_bank"),
    _type("charger", "electronics", "Wall charger|Ladegerät|شاحن جداري",
          "for fast charging at home|für schnelles Laden zu Hause|للشحن السريع في المنزل",
          "charging_power color plug", "usb_cable phone_case"),
    _type("phone_case", "electronics", "Phone case|Handyhülle|غطاء هاتف",
          "for protection in everyday life|für den Schutz im Alltag|لحماية الهاتف كل يوم",
          "color case_material waterproof", "charger"),
    _type("keyboard", "electronics", "Keyboard|Tastatur|لوحة مفاتيح",
          "for quiet typing|für leises Tippen|للكتابة بهدوء",
          "color connectivity battery_life", "computer_mouse monitor"),
    _type("computer_mouse", "electronics", "Computer mouse|Computermaus|فأرة حاسوب",
          "for precise work at the screen|für genaues Arbeiten am Bildschirm|للعمل الدقيق على الشاشة",
          "color connectivity battery_life", "keyboard"),
    _type("monitor", "electronics", "Monitor|Monitor|شاشة حاسوب",
          "for sharp pictures and text|für scharfe Bilder und Texte|لعرض صور ونصوص واضحة",
          "screen resolution color warranty", "keyboard desk"),
    _type("flash_drive", "electronics", "USB flash drive|USB-Stick|ذاكرة فلاش",
          "for storing files safely|für das sichere Speichern von Dateien|لتخزين الملفات بأمان",
          "storage color plug", "keyboard"),
    _type("smartwatch", "electronics", "Smartwatch|Smartwatch|ساعة ذكية",
          "for health and training|für Gesundheit und Training|لمتابعة الصحة والتمارين",
          "color battery_life waterproof connectivity", "charger"),
    _type("t_shirt", "clothing", "T-shirt|T-Shirt|قميص تي شيرت",
          "for warm days|für warme Tage|للأيام الدافئة", "color clothing_size textile audience pattern", "jeans"),
    _type("hoodie", "clothing", "Hoodie|Kapuzenpullover|سترة بقلنسوة",
          "for cool evenings|für kühle Abende|للأمسيات الباردة", "color clothing_size textile audience", "jeans socks"),
    _type("jeans", "clothing", "Jeans|Jeans|بنطال جينز",
          "for everyday wear|für jeden Tag|للارتداء كل يوم", "clothing_size color audience", "t_shirt hoodie"),
    _type("jacket", "clothing", "Jacket|Jacke|جاكيت",
          "for wind and rain|für Wind und Regen|للحماية من الرياح والمطر",
          "color clothing_size season waterproof audience", "scarf hiking_boots"),
    _type("dress", "clothing", "Dress|Kleid|فستان",
          "for parties and celebrations|für Feste und Feiern|للحفلات والمناسبات",
          "color clothing_size textile pattern season", "sandals perfume"),
    _type("socks", "clothing", "Socks|Socken|جوارب",
          "for warm feet|für warme Füße|لتدفئة القدمين", "color pieces textile audience", "running_shoes hiking_boots"),
    _type("scarf", "clothing", "Scarf|Schal|وشاح",
          "for cold days|für kalte Tage|للأيام الباردة", "color textile pattern season", "jacket"),
    _type("running_shoes", "shoes", "Running shoes|Laufschuhe|أحذية جري",
          "for training on the road|für das Training auf der Straße|للتدريب على الطرق",
          "shoe_size color shoe_material audience", "socks smartwatch"),
    _type("hiking_boots", "shoes", "Hiking boots|Wanderstiefel|أحذية مشي جبلي",
          "for long walks in the mountains|für lange Touren in den Bergen|للمسير الطويل في الجبال",
          "shoe_size color shoe_material waterproof", "socks backpack"),
    _type("sandals", "shoes", "Sandals|Sandalen|صنادل",
          "for the beach and the city|für Strand und Stadt|للشاطئ والمدينة",
          "shoe_size color shoe_material audience", "dress"),
    _type("bed_sheet", "home", "Bed linen|Bettwäsche|مفرش سرير",
          "for restful nights|für erholsame Nächte|لليالٍ هادئة", "bed_size color textile pattern", "pillow blanket"),
    _type("pillow", "home", "Pillow|Kissen|وسادة",
          "for good sleep|für guten Schlaf|لنوم مريح", "pillow_size textile color", "bed_sheet"),
    _type("blanket", "home", "Blanket|Decke|بطانية",
          "for cozy evenings on the sofa|für gemütliche Abende auf dem Sofa|لأمسيات دافئة على الأريكة",
          "color bed_size textile pattern", "pillow"),
    _type("towel", "home", "Towel|Handtuch|منشفة",
          "for bath and shower|für Bad und Dusche|للاستخدام في الحمام", "color pieces textile", "shampoo hand_soap"),
    _type("curtain", "home", "Curtain|Vorhang|ستارة",
          "for dark bedrooms|für dunkle Schlafzimmer|لغرف نوم معتمة", "color width textile pattern", "rug"),
    _type("desk_lamp", "home", "Desk lamp|Schreibtischlampe|مصباح مكتب",
          "for reading and working|für das Lesen und Arbeiten|للقراءة والعمل",
          "color furniture_material warranty", "desk"),
    _type("rug", "home", "Rug|Teppich|سجادة",
          "for the living room|für das Wohnzimmer|لغرفة المعيشة", "width color textile pattern", "curtain"),
    _type("shampoo", "beauty", "Shampoo|Shampoo|شامبو",
          "for shiny hair|für glänzendes Haar|لشعر لامع", "capacity_ml scent hair_type organic", "towel"),
    _type("face_cream", "beauty", "Face cream|Gesichtscreme|كريم وجه",
          "for soft skin|für zarte Haut|لبشرة ناعمة", "skin_type capacity_ml scent organic", "hand_soap"),
    _type("hand_soap", "beauty", "Hand soap|Handseife|صابون يدين",
          "for clean hands|für saubere Hände|لتنظيف اليدين", "scent capacity_ml skin_type organic", "towel"),
    _type("perfume", "beauty", "Perfume|Parfüm|عطر",
          "for special evenings|für besondere Abende|للأمسيات المميزة", "scent capacity_ml audience", "face_cream"),
    _type("yoga_mat", "sports", "Yoga mat|Yogamatte|سجادة يوغا",
          "for yoga and gymnastics|für Yoga und Gymnastik|لتمارين اليوغا واللياقة",
          "color thickness", "dumbbell water_bottle"),
    _type("dumbbell", "sports", "Dumbbell|Hantel|دمبل",
          "for strength training at home|für das Krafttraining zu Hause|لتمارين القوة في المنزل",
          "weight_kg color pieces", "yoga_mat"),
    _type("bicycle_helmet", "sports", "Bicycle helmet|Fahrradhelm|خوذة دراجة",
          "for safe rides|für sichere Fahrten|لركوب آمن", "clothing_size color audience", "water_bottle"),
    _type("backpack", "sports", "Backpack|Rucksack|حقيبة ظهر",
          "for hikes and travel|für Wanderungen und Reisen|للرحلات والسفر",
          "color volume_l waterproof", "water_bottle hiking_boots"),
    _type("tent", "sports", "Tent|Zelt|خيمة",
          "for camping in any weather|für das Camping bei jedem Wetter|للتخييم في كل الأجواء",
          "persons color season waterproof", "sleeping_bag backpack"),
    _type("sleeping_bag", "sports", "Sleeping bag|Schlafsack|كيس نوم",
          "for nights in the open air|für Nächte im Freien|للنوم في الهواء الطلق", "temperature color season", "tent"),
    _type("notebook", "office", "Notebook|Notizbuch|دفتر ملاحظات",
          "for ideas and lists|für Ideen und Listen|لتدوين الأفكار والقوائم", "color pages pattern", "pens"),
    _type("pens", "office", "Pens|Stifte|أقلام",
          "for writing and drawing|für das Schreiben und Zeichnen|للكتابة والرسم", "color pieces", "notebook"),
    _type("office_chair", "office", "Office chair|Bürostuhl|كرسي مكتب",
          "for long days at the desk|für lange Tage am Schreibtisch|لأيام العمل الطويلة",
          "color furniture_material warranty", "desk desk_lamp"),
    _type("desk", "office", "Desk|Schreibtisch|مكتب",
          "for work and study|für Arbeit und Studium|للعمل والدراسة",
          "width furniture_material color", "office_chair desk_lamp"),
    _type("building_blocks", "toys", "Building blocks|Bausteine|مكعبات بناء",
          "for creative play|für kreatives Spielen|للعب والإبداع", "toy_pieces age furniture_material", "puzzle"),
    _type("puzzle", "toys", "Puzzle|Puzzle|أحجية صور",
          "for rainy afternoons|für verregnete Nachmittage|لأوقات الفراغ في المنزل", "toy_pieces age", "board_game"),
    _type("board_game", "toys", "Board game|Brettspiel|لعبة لوحية",
          "for evenings with the family|für Abende mit der Familie|لأمسيات عائلية ممتعة", "age persons", "puzzle"),
    _type("cordless_drill", "garden", "Cordless drill|Akkuschrauber|مثقاب لاسلكي",
          "for work on house and garden|für Arbeiten an Haus und Garten|لأعمال المنزل والحديقة",
          "voltage color warranty", "screwdriver_set"),
    _type("screwdriver_set", "garden", "Screwdriver set|Schraubendreher-Set|طقم مفكات",
          "for repairs at home|für Reparaturen zu Hause|لأعمال الإصلاح في المنزل",
          "pieces color warranty", "cordless_drill"),
    _type("garden_hose", "garden", "Garden hose|Gartenschlauch|خرطوم حديقة",
          "for watering the lawn|für das Bewässern des Rasens|لري العشب", "hose_length color warranty", "flower_pot"),
    _type("flower_pot", "garden", "Flower pot|Blumentopf|أصيص زهور",
          "for plants on the balcony|für Pflanzen auf dem Balkon|لنباتات الشرفة",
          "diameter color pieces", "garden_hose"),
    _type("pet_bed", "pets", "Pet bed|Tierbett|سرير حيوانات أليفة",
          "for quiet sleep|für ruhigen Schlaf|لنوم هادئ", "clothing_size color pet textile", "feeding_bowl"),
    _type("feeding_bowl", "pets", "Feeding bowl|Futternapf|وعاء طعام للحيوانات",
          "for food and water|für Futter und Wasser|لتقديم الطعام والماء",
          "capacity_ml color pet kitchen_material dishwasher_safe", "pet_bed"),
    _type("coffee_beans", "grocery", "Coffee beans|Kaffeebohnen|حبوب قهوة",
          "for espresso and filter coffee|für Espresso und Filterkaffee|لتحضير الإسبريسو والقهوة المفلترة",
          "net_weight_g roast origin organic", "coffee_machine mug"),
    _type("green_tea", "grocery", "Green tea|Grüntee|شاي أخضر",
          "for a quiet break|für eine ruhige Pause|لاستراحة هادئة", "net_weight_g origin organic", "kettle honey"),
    _type("olive_oil", "grocery", "Olive oil|Olivenöl|زيت زيتون",
          "for salads and cooking|für Salate und zum Kochen|للسلطات والطبخ",
          "capacity_ml origin organic", "frying_pan"),
    _type("honey", "grocery", "Honey|Honig|عسل",
          "for breakfast and tea|für Frühstück und Tee|للفطور والشاي",
          "net_weight_g origin organic", "green_tea toaster"),
])
# fmt: on
