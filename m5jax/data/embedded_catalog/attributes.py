"""The attributes of the catalog's products: names, values and one phrase for each, in every language.

German phrases use values without an article and Arabic phrases hold the value in a position without agreement, so that
every combination is correct.
"""

import dataclasses

from m5jax.data.embedded_catalog.languages import LANGUAGES, Translated, translated


@dataclasses.dataclass(frozen=True)
class Attribute:
    """`values[i]` is one value in every language; `phrases` hold one `{}` for it."""

    name: Translated
    phrases: Translated
    values: tuple[Translated, ...]


def _choice(name: Translated, phrases: Translated, values: str) -> Attribute:
    """Values are given as `english|german|arabic`, separated by semicolons."""
    return Attribute(name, phrases, tuple(translated(value) for value in values.split(";")))


def _number(name: Translated, phrases: Translated, units: Translated, values: tuple[float, ...]) -> Attribute:
    """A quantity with a unit, written as the locale writes it (a decimal comma in German)."""
    triples = []
    for value in values:
        digits = f"{value:g}"
        texts = [digits if language != "de" else digits.replace(".", ",") for language in LANGUAGES]
        english, german, arabic = (f"{text} {unit}".strip() for text, unit in zip(texts, units, strict=True))
        triples.append((english, german, arabic))
    return Attribute(name, phrases, tuple(triples))


def _material(values: str) -> Attribute:
    phrases = ("Made of {}", "Gefertigt aus {}", "الخامة المستخدمة هي {}")
    return _choice(("Material", "Material", "الخامة"), phrases, values)


def _size(values: str) -> Attribute:
    phrases = ("Available here in size {}", "Hier in Größe {}", "متوفر هنا بمقاس {}")
    sizes = ";".join(f"{size}|{size}|{size}" for size in values.split())
    return _choice(("Size", "Größe", "المقاس"), phrases, sizes)


_CAPACITY = ("Capacity", "Fassungsvermögen", "السعة")
_CAPACITY_PHRASES = ("Holds up to {}", "Mit einem Fassungsvermögen von {}", "بسعة تصل إلى {}")
_YES_NO = "Yes|Ja|نعم;No|Nein|لا"
_WEIGHT = ("Net weight", "Nettogewicht", "الوزن الصافي")

ATTRIBUTES: dict[str, Attribute] = {
    "color": _choice(
        ("Color", "Farbe", "اللون"),
        ("Comes in {}", "Erhältlich in {}", "متوفر بلون {}"),
        "Black|Schwarz|أسود;White|Weiß|أبيض;Red|Rot|أحمر;Blue|Blau|أزرق;Green|Grün|أخضر;Gray|Grau|رمادي;"
        "Brown|Braun|بني;Pink|Rosa|وردي;Yellow|Gelb|أصفر;Beige|Beige|بيج",
    ),
    "kitchen_material": _material(
        "Stainless steel|Edelstahl|الفولاذ المقاوم للصدأ;Aluminum|Aluminium|الألومنيوم;Glass|Glas|الزجاج;"
        "Ceramic|Keramik|السيراميك;Cast iron|Gusseisen|الحديد الزهر"
    ),
    "textile": _material(
        "Cotton|Baumwolle|القطن;Linen|Leinen|الكتان;Wool|Wolle|الصوف;Polyester|Polyester|البوليستر;Silk|Seide|الحرير"
    ),
    "shoe_material": _material(
        "Leather|Leder|الجلد;Suede|Wildleder|جلد الغزال;Canvas|Segeltuch|قماش الكانفاس;Mesh|Netzgewebe|القماش الشبكي"
    ),
    "furniture_material": _material(
        "Oak|Eiche|خشب البلوط;Pine|Kiefer|خشب الصنوبر;"
        "Bamboo|Bambus|الخيزران;Steel|Stahl|الفولاذ;Plastic|Kunststoff|البلاستيك"
    ),
    "case_material": _material(
        "Silicone|Silikon|السيليكون;Leather|Leder|الجلد;Plastic|Kunststoff|البلاستيك;Metal|Metall|المعدن"
    ),
    "capacity_l": _number(_CAPACITY, _CAPACITY_PHRASES, ("L", "l", "لتر"), (0.5, 1, 1.2, 1.5, 1.7, 2, 3, 5)),
    "capacity_ml": _number(_CAPACITY, _CAPACITY_PHRASES, ("ml", "ml", "مل"), (250, 300, 350, 400, 500, 750)),
    "volume_l": _number(
        ("Volume", "Volumen", "الحجم"),
        ("With a volume of {}", "Mit einem Volumen von {}", "بحجم يبلغ {}"),
        ("L", "l", "لتر"),
        (15, 20, 25, 30, 40, 60),
    ),
    "power": _number(
        ("Power", "Leistung", "القدرة"),
        ("Runs at {}", "Mit einer Leistung von {}", "يعمل بقدرة {}"),
        ("W", "W", "واط"),
        (500, 800, 1000, 1200, 1500, 2200),
    ),
    "charging_power": _number(
        ("Charging power", "Ladeleistung", "قدرة الشحن"),
        ("Charges at up to {}", "Lädt mit bis zu {}", "قدرة شحن تصل إلى {}"),
        ("W", "W", "واط"),
        (18, 20, 30, 45, 65, 100),
    ),
    "battery": _number(
        ("Battery capacity", "Akkukapazität", "سعة البطارية"),
        ("Battery of {}", "Akku mit {}", "بطارية بسعة {}"),
        ("mAh", "mAh", "مللي أمبير"),
        (5000, 10000, 15000, 20000, 26800),
    ),
    "battery_life": _number(
        ("Battery life", "Akkulaufzeit", "عمر البطارية"),
        ("Up to {} on one charge", "Bis zu {} mit einer Ladung", "حتى {} بشحنة واحدة"),
        ("h", "Std.", "ساعة"),
        (12, 18, 24, 30, 40, 50),
    ),
    "storage": _number(
        ("Storage", "Speicher", "سعة التخزين"),
        ("Storage of {}", "Speicher von {}", "سعة تخزين {}"),
        ("GB", "GB", "جيجابايت"),
        (32, 64, 128, 256, 512),
    ),
    "screen": _number(
        ("Screen size", "Bildschirmgröße", "حجم الشاشة"),
        ("Screen of {}", "Bildschirm mit {}", "شاشة بحجم {}"),
        ("inch", "Zoll", "بوصة"),
        (24, 27, 32, 34),
    ),
    "cable_length": _number(
        ("Length", "Länge", "الطول"),
        ("A length of {}", "Mit einer Länge von {}", "بطول {}"),
        ("m", "m", "متر"),
        (0.5, 1, 1.5, 2, 3),
    ),
    "hose_length": _number(
        ("Length", "Länge", "الطول"),
        ("A length of {}", "Mit einer Länge von {}", "بطول {}"),
        ("m", "m", "متر"),
        (10, 15, 20, 25, 30, 50),
    ),
    "width": _number(
        ("Width", "Breite", "العرض"),
        ("A width of {}", "Mit einer Breite von {}", "بعرض {}"),
        ("cm", "cm", "سم"),
        (60, 80, 100, 120, 140, 160),
    ),
    "diameter": _number(
        ("Diameter", "Durchmesser", "القطر"),
        ("A diameter of {}", "Mit einem Durchmesser von {}", "بقطر {}"),
        ("cm", "cm", "سم"),
        (16, 18, 20, 24, 26, 28),
    ),
    "blade_length": _number(
        ("Blade length", "Klingenlänge", "طول الشفرة"),
        ("Blade length of {}", "Mit einer Klingenlänge von {}", "شفرة بطول {}"),
        ("cm", "cm", "سم"),
        (13, 15, 18, 20, 23),
    ),
    "thickness": _number(
        ("Thickness", "Stärke", "السماكة"),
        ("A thickness of {}", "Mit einer Stärke von {}", "بسماكة {}"),
        ("mm", "mm", "مم"),
        (4, 6, 8, 10, 15),
    ),
    "weight_kg": _number(
        ("Weight", "Gewicht", "الوزن"),
        ("A weight of {}", "Mit einem Gewicht von {}", "بوزن {}"),
        ("kg", "kg", "كجم"),
        (1, 2, 3, 5, 8, 10, 12.5),
    ),
    "net_weight_g": _number(
        _WEIGHT, ("Net weight of {}", "Nettogewicht von {}", "وزن صافٍ {}"), ("g", "g", "جم"), (100, 200, 250, 500, 1000)
    ),
    "pieces": _choice(
        ("Quantity", "Menge", "الكمية"),
        ("Set of {}", "Menge: {}", "الكمية في العبوة: {}"),
        "2 pieces|2 Teile|قطعتان;3 pieces|3 Teile|3 قطع;4 pieces|4 Teile|4 قطع;6 pieces|6 Teile|6 قطع;"
        "8 pieces|8 Teile|8 قطع;12 pieces|12 Teile|12 قطعة",
    ),
    "toy_pieces": _number(
        ("Quantity", "Menge", "الكمية"),
        ("Set of {}", "Menge: {}", "الكمية في العبوة: {}"),
        ("pieces", "Teile", "قطعة"),
        (100, 150, 250, 500, 1000),
    ),
    "pages": _number(
        ("Page count", "Umfang", "عدد الصفحات"),
        ("Page count: {}", "Umfang: {}", "عدد الصفحات: {}"),
        ("pages", "Seiten", "صفحة"),
        (80, 96, 120, 160, 200),
    ),
    "persons": _choice(
        ("Group size", "Gruppengröße", "عدد الأشخاص"),
        ("Group size: {}", "Gruppengröße: {}", "عدد الأشخاص: {}"),
        "1 person|1 Person|شخص واحد;2 persons|2 Personen|شخصان;3 persons|3 Personen|3 أشخاص;"
        "4 persons|4 Personen|4 أشخاص;6 persons|6 Personen|6 أشخاص",
    ),
    "voltage": _number(
        ("Voltage", "Spannung", "الجهد"),
        ("Works with {}", "Arbeitet mit {}", "يعمل بجهد {}"),
        ("V", "V", "فولت"),
        (12, 18, 20, 36),
    ),
    "temperature": _number(
        ("Comfort temperature", "Komforttemperatur", "درجة حرارة الراحة"),
        ("Comfort temperature of {}", "Komforttemperatur von {}", "درجة حرارة الراحة {}"),
        ("°C", "°C", "درجة مئوية"),
        (-10, -5, 0, 5, 10),
    ),
    "warranty": _number(
        ("Warranty in years", "Garantie in Jahren", "الضمان بالسنوات"),
        ("Warranty in years: {}", "Garantie in Jahren: {}", "مدة الضمان بالسنوات: {}"),
        ("", "", ""),
        (1, 2, 3, 5),
    ),
    "clothing_size": _size("XS S M L XL XXL"),
    "shoe_size": _size("37 38 39 40 41 42 43 44"),
    "connectivity": _choice(
        ("Connectivity", "Verbindung", "نوع الاتصال"),
        ("Connects by {}", "Verbindung über {}", "يتصل عبر {}"),
        "Bluetooth|Bluetooth|البلوتوث;Cable|Kabel|الكابل;Wi-Fi|WLAN|الواي فاي;USB-C|USB-C|منفذ USB-C",
    ),
    "plug": _choice(
        ("Connector", "Anschluss", "نوع المنفذ"),
        ("Connector: {}", "Anschluss: {}", "نوع المنفذ: {}"),
        "USB-A|USB-A|USB-A;USB-C|USB-C|USB-C;Micro-USB|Micro-USB|Micro-USB;Lightning|Lightning|Lightning",
    ),
    "resolution": _choice(
        ("Resolution", "Auflösung", "دقة العرض"),
        ("Resolution of {}", "Mit einer Auflösung von {}", "دقة عرض {}"),
        "1920 x 1080|1920 x 1080|1920 x 1080;2560 x 1440|2560 x 1440|2560 x 1440;3840 x 2160|3840 x 2160|3840 x 2160",
    ),
    "dishwasher_safe": _choice(
        ("Dishwasher safe", "Spülmaschinenfest", "مناسب لغسالة الصحون"),
        ("Dishwasher safe: {}", "Spülmaschinenfest: {}", "مناسب لغسالة الصحون: {}"),
        _YES_NO,
    ),
    "waterproof": _choice(
        ("Waterproof", "Wasserdicht", "مقاوم للماء"), ("Waterproof: {}", "Wasserdicht: {}", "مقاوم للماء: {}"), _YES_NO
    ),
    "organic": _choice(
        ("Organic", "Bio-Qualität", "منتج عضوي"), ("Organic: {}", "Bio-Qualität: {}", "منتج عضوي: {}"), _YES_NO
    ),
    "audience": _choice(
        ("Intended for", "Zielgruppe", "الفئة المستهدفة"),
        ("Intended for {}", "Zielgruppe: {}", "الفئة المستهدفة: {}"),
        "Women|Damen|نساء;Men|Herren|رجال;Children|Kinder|أطفال",
    ),
    "pattern": _choice(
        ("Pattern", "Muster", "النقشة"),
        ("Pattern: {}", "Muster: {}", "النقشة: {}"),
        "Plain|Einfarbig|سادة;Striped|Gestreift|مخطط;Checked|Kariert|مربعات;Floral|Geblümt|أزهار",
    ),
    "season": _choice(
        ("Season", "Jahreszeit", "الموسم"),
        ("Chosen for {}", "Passend zu: {}", "مناسب لفصل {}"),
        "Spring|Frühling|الربيع;Summer|Sommer|الصيف;Autumn|Herbst|الخريف;Winter|Winter|الشتاء",
    ),
    "bed_size": _choice(
        ("Dimensions", "Maße", "الأبعاد"),
        ("Dimensions of {}", "Maße: {}", "الأبعاد: {}"),
        "90 x 200 cm|90 x 200 cm|90 × 200 سم;140 x 200 cm|140 x 200 cm|140 × 200 سم;"
        "160 x 200 cm|160 x 200 cm|160 × 200 سم;180 x 200 cm|180 x 200 cm|180 × 200 سم",
    ),
    "pillow_size": _choice(
        ("Dimensions", "Maße", "الأبعاد"),
        ("Dimensions of {}", "Maße: {}", "الأبعاد: {}"),
        "40 x 40 cm|40 x 40 cm|40 × 40 سم;50 x 70 cm|50 x 70 cm|50 × 70 سم;80 x 80 cm|80 x 80 cm|80 × 80 سم",
    ),
    "scent": _choice(
        ("Scent", "Duft", "الرائحة"),
        ("Scent of {}", "Duft nach {}", "برائحة {}"),
        "Lavender|Lavendel|اللافندر;Rose|Rose|الورد;Lemon|Zitrone|الليمون;Vanilla|Vanille|الفانيليا;Mint|Minze|النعناع",
    ),
    "skin_type": _choice(
        ("Skin type", "Hauttyp", "نوع البشرة"),
        ("Skin type: {}", "Hauttyp: {}", "نوع البشرة: {}"),
        "Dry|Trocken|جافة;Oily|Fettig|دهنية;Sensitive|Empfindlich|حساسة;Normal|Normal|عادية",
    ),
    "hair_type": _choice(
        ("Hair type", "Haartyp", "نوع الشعر"),
        ("Hair type: {}", "Haartyp: {}", "نوع الشعر: {}"),
        "Dry|Trocken|جاف;Oily|Fettig|دهني;Curly|Lockig|مجعد;Colored|Gefärbt|مصبوغ",
    ),
    "roast": _choice(
        ("Roast", "Röstung", "درجة التحميص"),
        ("Roast: {}", "Röstung: {}", "درجة التحميص: {}"),
        "Light|Hell|فاتحة;Medium|Mittel|متوسطة;Dark|Dunkel|داكنة",
    ),
    "origin": _choice(
        ("Origin", "Herkunft", "بلد المنشأ"),
        ("Origin: {}", "Herkunft: {}", "بلد المنشأ: {}"),
        "Brazil|Brasilien|البرازيل;Ethiopia|Äthiopien|إثيوبيا;Italy|Italien|إيطاليا;Spain|Spanien|إسبانيا;"
        "Japan|Japan|اليابان;Turkey|Türkei|تركيا",
    ),
    "age": _choice(
        ("Age", "Alter", "العمر المناسب"),
        ("Age: {}", "Alter: {}", "العمر المناسب: {}"),
        "From 3 years|Ab 3 Jahren|من 3 سنوات;From 6 years|Ab 6 Jahren|من 6 سنوات;"
        "From 8 years|Ab 8 Jahren|من 8 سنوات;From 10 years|Ab 10 Jahren|من 10 سنوات",
    ),
    "pet": _choice(
        ("Pet", "Haustier", "الحيوان الأليف"),
        ("Pet: {}", "Haustier: {}", "الحيوان الأليف: {}"),
        "Dog|Hund|كلب;Cat|Katze|قطة;Rabbit|Kaninchen|أرنب",
    ),
}
