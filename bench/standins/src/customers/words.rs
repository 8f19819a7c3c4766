//! What the generated customers are made of. No address or number here can belong to anybody: e-mail domains are
//! reserved ones, phone numbers come from the ranges that the countries' regulators keep free for fiction.

pub(super) struct Country {
    pub(super) code: &'static str,
    pub(super) currency: &'static str,
    /// Each `#` stands for a digit.
    pub(super) phone: &'static str,
    pub(super) cities: &'static [&'static str],
    pub(super) given_names: &'static [&'static str],
    pub(super) family_names: &'static [&'static str],
}

pub(super) const COUNTRIES: &[Country] = &[
    Country {
        code: "US",
        currency: "USD",
        phone: "+1 2#2-555-01##",
        cities: &["Austin", "Boston", "Chicago", "Denver", "Portland", "Seattle"],
        given_names: &[
            "Emma", "Liam", "Olivia", "Noah", "Ava", "Mateo", "Sofia", "Ethan", "Grace", "Aaliyah", "Minh", "Priya",
        ],
        family_names: &[
            "Smith",
            "Johnson",
            "Garcia",
            "Nguyen",
            "O'Brien",
            "Miller",
            "Washington",
            "Rodriguez",
            "Kim",
            "Patel",
        ],
    },
    Country {
        code: "GB",
        currency: "GBP",
        phone: "+44 20 7946 0###",
        cities: &["Bristol", "Cardiff", "Edinburgh", "Leeds", "London", "Manchester"],
        given_names: &["Amelia", "Oliver", "Isla", "Harry", "Zoë", "Arjun", "Niamh", "George", "Freya", "Mohammed"],
        family_names: &[
            "Jones",
            "Taylor",
            "Davies",
            "Khan",
            "Smith-Jones",
            "Walker",
            "Hughes",
            "MacLeod",
            "Begum",
            "Clarke",
        ],
    },
    Country {
        code: "DE",
        currency: "EUR",
        phone: "+49 30 23125 ###",
        cities: &["Berlin", "Düsseldorf", "Hamburg", "Köln", "Leipzig", "München"],
        given_names: &["Anna", "Jürgen", "Leonie", "Maximilian", "Sören", "Ayşe", "Greta", "Felix", "Käthe", "Jonas"],
        family_names: &[
            "Müller",
            "Schmidt",
            "Weiß",
            "Schröder",
            "Yılmaz",
            "von der Heide",
            "Bauer",
            "Krämer",
            "Vogel",
            "Jäger",
        ],
    },
    Country {
        code: "FR",
        currency: "EUR",
        phone: "+33 1 99 00 ####",
        cities: &["Bordeaux", "Lille", "Lyon", "Marseille", "Nîmes", "Paris"],
        given_names: &["Chloé", "Léo", "Inès", "François", "Margaux", "Théo", "Anaïs", "Mehdi", "Noémie", "Jean-Luc"],
        family_names: &[
            "Dupont", "Lefèvre", "Moreau", "d'Arcy", "Benali", "Girard", "Mercier", "Le Goff", "Traoré", "Rousseau",
        ],
    },
    Country {
        code: "SE",
        currency: "SEK",
        phone: "+46 8 465 004 ##",
        cities: &["Göteborg", "Linköping", "Malmö", "Stockholm", "Umeå", "Örebro"],
        given_names: &["Åsa", "Björn", "Elsa", "Gustav", "Märta", "Nils", "Linnéa", "Örjan", "Fatima", "Signe"],
        family_names: &[
            "Andersson",
            "Öberg",
            "Lindqvist",
            "Sjöström",
            "Åkesson",
            "Nyström",
            "Holm",
            "Ek",
            "Haddad",
            "Bergström",
        ],
    },
    Country {
        code: "AU",
        currency: "AUD",
        phone: "+61 2 5550 ####",
        cities: &["Adelaide", "Brisbane", "Hobart", "Melbourne", "Perth", "Sydney"],
        given_names: &["Charlotte", "Jack", "Matilda", "Cooper", "Ruby", "Lachlan", "Mei", "Hamish", "Tilly", "Angus"],
        family_names: &["Wilson", "Brown", "Nguyen", "Kelly", "McDonald", "Singh", "Ryan", "Chen", "Robinson", "White"],
    },
    Country {
        code: "CA",
        currency: "CAD",
        phone: "+1 6#3-555-01##",
        cities: &["Calgary", "Halifax", "Montréal", "Ottawa", "Toronto", "Vancouver"],
        given_names: &[
            "Émilie",
            "William",
            "Hannah",
            "Xavier",
            "Sarah",
            "Logan",
            "Camille",
            "Owen",
            "Harpreet",
            "Béatrice",
        ],
        family_names: &[
            "Tremblay",
            "Roy",
            "Gagnon",
            "Campbell",
            "Li",
            "MacDonald",
            "Côté",
            "Gill",
            "Fraser",
            "Bélanger",
        ],
    },
];

pub(super) const MAIL_DOMAINS: &[&str] = &["example.com", "example.org", "example.net", "mail.example", "post.example"];
pub(super) const TAGS: &[&str] =
    &["vip", "newsletter", "beta", "wholesale", "late payer", "referral", "trade-in", "gift, wrapped"];
pub(super) const LANGUAGES: &[&str] = &["de", "en", "es", "fr", "sv", "zh-Hant"];
pub(super) const NOTES: &[&str] = &[
    "Prefers to be called in the afternoon.",
    "Said: \"please, no more calendars\".",
    "Moved twice;\nsecond address is current.",
    "Works at C:\\Projects\\North, ask for the front desk.",
];
pub(super) const PRODUCTS: &[(&str, &str, i64)] = &[
    ("KB-104", "Keyboard, mechanical", 12_900),
    ("MN-027", "Monitor 27\"", 34_900),
    ("DK-001", "Docking station", 18_950),
    ("CH-220", "Office chair", 42_000),
    ("DS-180", "Standing desk", 69_900),
    ("HS-310", "Headset", 8_990),
    ("CB-002", "USB-C cable", 1_490),
    ("NB-014", "Notebook 14\"", 149_900),
    ("PR-500", "Laser printer", 27_900),
    ("PP-500", "Paper, 500 sheets", 690),
    ("WC-080", "Webcam", 7_990),
    ("SV-002", "Server, two sockets", 689_000),
];
