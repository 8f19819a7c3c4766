//! A random copybook, and records of it with the JSON that they must become.

use std::{collections::HashMap, fmt::Write as _};

use config::downstream::mainframe::Encoding;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

pub(super) struct Sample {
    random: StdRng,
    encoding: Encoding,
    copybook: String,
    fields: Vec<Field>,
}

struct Field {
    /// `None` for a filler.
    name: Option<String>,
    times: Times,
    shape: Shape,
}

enum Times {
    Once,
    Fixed(usize),
    /// Up to so often, as the field of that name says.
    Counted(usize, String),
}

enum Shape {
    Group(Vec<Field>),
    Text(usize),
    Number(Number),
    /// Counts a table: a binary number of two bytes.
    Counter,
}

struct Number {
    digits: usize,
    scale: usize,
    signed: bool,
    form: Form,
}

enum Form {
    Over { leading: bool },
    Separate { leading: bool },
    Packed,
    Binary,
}

impl Sample {
    pub(super) fn new(seed: u64, encoding: Encoding) -> Self {
        let mut maker = Maker { random: StdRng::seed_from_u64(seed), names: 0, copybook: String::new() };
        maker.line(1, "REC.");
        let fields = maker.group(5, 0);
        Self { random: maker.random, encoding, copybook: maker.copybook, fields }
    }

    pub(super) fn copybook(&self) -> &str {
        &self.copybook
    }

    /// The bytes of a record, and its JSON.
    pub(super) fn record(&mut self) -> (Vec<u8>, String) {
        let counts = HashMap::new();
        let mut writer = Writer { random: &mut self.random, encoding: self.encoding, bytes: Vec::new(), counts };
        let members = writer.members(&self.fields);
        (writer.bytes, format!("{{{}}}", members.join(",")))
    }
}

struct Maker {
    random: StdRng,
    names: usize,
    copybook: String,
}

impl Maker {
    fn line(&mut self, level: usize, text: &str) {
        writeln!(self.copybook, "{}{level:02} {text}", " ".repeat(7 + level)).expect("memory takes it");
    }

    fn name(&mut self) -> String {
        self.names += 1;
        format!("Field-{}", self.names)
    }

    /// Always at least one field that has a name.
    fn group(&mut self, level: usize, tables: usize) -> Vec<Field> {
        let mut fields = Vec::new();
        for _ in 0..self.random.random_range(1..5) {
            self.field(level, tables, &mut fields);
        }
        let name = self.name();
        self.line(level, &format!("{name} PIC X."));
        fields.push(Field { name: Some(name), times: Times::Once, shape: Shape::Text(1) });
        fields
    }

    fn field(&mut self, level: usize, tables: usize, fields: &mut Vec<Field>) {
        let mut clauses = String::new();
        let times = match self.random.random_range(0..8) {
            0 => Times::Fixed(self.random.random_range(1..4)),
            // What counts a table stands in none.
            1 if tables == 0 => {
                let counter = self.name();
                self.line(level, &format!("{counter} PIC 9(3) COMP."));
                fields.push(Field { name: Some(counter.clone()), times: Times::Once, shape: Shape::Counter });
                Times::Counted(self.random.random_range(1..5), counter)
            }
            _ => Times::Once,
        };
        match &times {
            Times::Once => {}
            Times::Fixed(times) => write!(clauses, " OCCURS {times} TIMES").expect("memory takes it"),
            Times::Counted(max, counter) => {
                write!(clauses, " OCCURS 0 TO {max} DEPENDING ON {counter}").expect("memory takes it");
            }
        }
        let tables = tables + usize::from(!matches!(times, Times::Once));
        let kind = self.random.random_range(0..10);
        let is_filler = kind == 0;
        let name = if is_filler { None } else { Some(self.name()) };
        let shown = name.clone().unwrap_or_else(|| "FILLER".to_owned());
        let shape = match kind {
            1 | 2 if level < 20 => {
                self.line(level, &format!("{shown}{clauses}."));
                Shape::Group(self.group(level + 5, tables))
            }
            0 | 3 | 4 => {
                let bytes = self.random.random_range(1..9);
                self.line(level, &format!("{shown} PIC X({bytes}){clauses}."));
                Shape::Text(bytes)
            }
            _ => {
                let number = self.number();
                self.line(level, &format!("{shown} {}{clauses}.", number.clauses()));
                Shape::Number(number)
            }
        };
        let is_plain = matches!((&shape, &times), (Shape::Text(_), Times::Once));
        if let Some(name) = name.as_ref().filter(|_| is_plain && self.random.random_bool(0.2)) {
            let other = self.name();
            self.line(level, &format!("{other} REDEFINES {name} PIC X."));
        }
        fields.push(Field { name, times, shape });
    }

    fn number(&mut self) -> Number {
        let signed = self.random.random_bool(0.5);
        let leading = self.random.random_bool(0.5);
        let form = match self.random.random_range(0..5) {
            0 if signed => Form::Separate { leading },
            1 => Form::Packed,
            2 => Form::Binary,
            _ => Form::Over { leading },
        };
        let digits = self.random.random_range(1..=if matches!(form, Form::Binary) { 18 } else { 31 });
        Number { digits, scale: self.random.random_range(0..=digits), signed, form }
    }
}

impl Number {
    fn clauses(&self) -> String {
        let sign = if self.signed { "S" } else { "" };
        let nines = |count: usize| if count == 0 { String::new() } else { format!("9({count})") };
        let point = if self.scale > 0 { "V" } else { "" };
        let picture = format!("PIC {sign}{}{point}{}", nines(self.digits - self.scale), nines(self.scale));
        let place = |leading: bool| if leading { "LEADING" } else { "TRAILING" };
        match self.form {
            Form::Over { leading } if self.signed => format!("{picture} SIGN IS {}", place(leading)),
            Form::Over { .. } => picture,
            Form::Separate { leading } => format!("{picture} {} SEPARATE", place(leading)),
            Form::Packed => format!("{picture} COMP-3"),
            Form::Binary => format!("{picture} COMP"),
        }
    }
}

struct Writer<'a> {
    random: &'a mut StdRng,
    encoding: Encoding,
    bytes: Vec<u8>,
    /// How often the tables of this record occur.
    counts: HashMap<String, usize>,
}

impl Writer<'_> {
    fn members(&mut self, fields: &[Field]) -> Vec<String> {
        let mut members = Vec::new();
        for (at, field) in fields.iter().enumerate() {
            let json = match &field.times {
                Times::Once => self.value(field, fields.get(at + 1)),
                Times::Fixed(times) => self.list(field, *times),
                Times::Counted(_, counter) => self.list(field, self.counts[counter]),
            };
            if let Some(name) = &field.name {
                members.push(format!("\"{}\":{json}", name.to_lowercase().replace('-', "_")));
            }
        }
        members
    }

    fn list(&mut self, field: &Field, times: usize) -> String {
        let values: Vec<_> = (0..times).map(|_| self.value(field, None)).collect();
        format!("[{}]", values.join(","))
    }

    fn value(&mut self, field: &Field, next: Option<&Field>) -> String {
        match &field.shape {
            Shape::Group(fields) => format!("{{{}}}", self.members(fields).join(",")),
            Shape::Text(bytes) => self.text(*bytes),
            Shape::Number(number) => self.number(number),
            Shape::Counter => {
                let Some(Field { times: Times::Counted(max, counter), .. }) = next else {
                    panic!("a counter stands before its table")
                };
                let count = self.random.random_range(0..=*max);
                self.counts.insert(counter.clone(), count);
                self.bytes.extend(u16::try_from(count).expect("small").to_be_bytes());
                count.to_string()
            }
        }
    }

    fn text(&mut self, bytes: usize) -> String {
        let alphabet = ['A', 'z', '0', ' ', '"', '\\', '{', 'é', 'ß', '@', '~', '^', '\n'];
        let mut text = String::new();
        for _ in 0..self.random.random_range(0..=bytes) {
            text.push(alphabet[self.random.random_range(0..alphabet.len())]);
        }
        let mut encoded = self.encode(&text);
        while encoded.len() > bytes {
            text.pop();
            encoded = self.encode(&text);
        }
        encoded.resize(bytes, self.encode(" ")[0]);
        self.bytes.extend(encoded);
        serde_json::to_string(text.trim_end_matches(' ')).expect("a string has a JSON form")
    }

    fn number(&mut self, number: &Number) -> String {
        let digits: String =
            (0..number.digits).map(|_| char::from(b'0' + self.random.random_range(0..10_u8))).collect();
        let negative = number.signed && self.random.random_bool(0.5);
        let encoded = match number.form {
            Form::Over { leading } if number.signed => {
                let place = if leading { 0 } else { digits.len() - 1 };
                // The character that EBCDIC has for a digit under a sign.
                let over = |digit: char| {
                    let signs = if negative { "}JKLMNOPQR" } else { "{ABCDEFGHI" };
                    signs.chars().nth(digit.to_digit(10).expect("a digit") as usize).expect("ten of them")
                };
                let shown = digits.chars().enumerate().map(|(at, digit)| if at == place { over(digit) } else { digit });
                self.encode(&shown.collect::<String>())
            }
            Form::Over { .. } => self.encode(&digits),
            Form::Separate { leading } => {
                let sign = if negative { "-" } else { "+" };
                self.encode(&if leading { format!("{sign}{digits}") } else { format!("{digits}{sign}") })
            }
            Form::Packed => {
                let sign = match (number.signed, negative) {
                    (false, _) => 'F',
                    (true, false) => 'C',
                    (true, true) => 'D',
                };
                let pad = if number.digits.is_multiple_of(2) { "0" } else { "" };
                let halves: Vec<char> = format!("{pad}{digits}{sign}").chars().collect();
                let half = |digit: char| u8::try_from(digit.to_digit(16).expect("a half")).expect("small");
                halves.chunks(2).map(|pair| half(pair[0]) << 4 | half(pair[1])).collect()
            }
            Form::Binary => {
                let magnitude: i64 = digits.parse().expect("18 digits fit");
                let value = if negative { -magnitude } else { magnitude };
                let bytes = match number.digits {
                    1..=4 => 2,
                    5..=9 => 4,
                    _ => 8,
                };
                value.to_be_bytes()[8 - bytes..].to_vec()
            }
        };
        self.bytes.extend(encoded);
        let value = json(negative, &digits, number.scale);
        // What a double may not hold stands as a text.
        if number.digits > 15 { format!("\"{value}\"") } else { value }
    }

    /// Characters of the code page by its published table, read backwards.
    fn encode(&self, text: &str) -> Vec<u8> {
        match self.encoding {
            Encoding::Utf8 => text.as_bytes().to_vec(),
            Encoding::Cp037 => text.chars().map(cp037).collect(),
        }
    }
}

fn cp037(character: char) -> u8 {
    let wanted = format!(" {:04X}", u32::from(character));
    let line = include_str!("../ebcdic/cp037.txt").lines().find(|line| line.ends_with(&wanted) && line.len() == 7);
    u8::from_str_radix(&line.expect("a character of the code page")[..2], 16).expect("a byte")
}

fn json(negative: bool, digits: &str, scale: usize) -> String {
    let sign = if negative && digits.bytes().any(|digit| digit != b'0') { "-" } else { "" };
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}
