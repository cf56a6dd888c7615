//! What clients ask for.

use crate::random::Random;
use crate::truth::{Place, Truth};

pub(crate) const HOSTS: [&str; 2] = ["a.example", "b.example"];
pub(crate) const LANGUAGES: [&str; 3] = ["", "de", "en"];
pub(crate) const PATHS: [&str; 9] = [
    "/plain/one",
    "/plain/two?q",
    "/vary/one",
    "/sometimes/one",
    "/personal/one",
    "/large",
    "/empty",
    "/gone",
    "/sliced/film",
];

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    /// The origin sees whose request it gets.
    pub(crate) id: u64,
    pub(crate) method: &'static str,
    pub(crate) place: Place,
    pub(crate) language: &'static str,
    is_authorized: bool,
    /// Its `Cache-Control` wants nothing that the origin does not confirm.
    pub(crate) insists: bool,
    pub(crate) max_stale: Option<u64>,
    lines: String,
}

/// A place by chance, some more often than others.
pub(crate) fn place(random: &mut Random) -> Place {
    Place {
        host: random.of(&HOSTS),
        path: random.of(&PATHS),
    }
}

// === impl Ask ===

impl Ask {
    pub(crate) fn by_chance(id: u64, place: Place, random: &mut Random, truth: &Truth) -> Self {
        let methods = [
            "GET", "GET", "GET", "GET", "GET", "GET", "GET", "GET", "HEAD", "HEAD", "GET", "GET",
        ];
        let mut ask = Self {
            id,
            method: random.of(&methods),
            place,
            language: random.of(&LANGUAGES),
            is_authorized: random.below(6) == 0,
            insists: false,
            max_stale: None,
            lines: String::new(),
        };
        if random.below(40) == 0 {
            ask.method = random.of(&["POST", "PUT", "DELETE", "PATCH"]);
        }
        ask.demand(random);
        ask.condition(random, truth);
        ask
    }

    fn demand(&mut self, random: &mut Random) {
        let demand = match random.below(24) {
            0 => "no-cache",
            1 => "max-age=0",
            2 => "max-stale=5",
            3 => "min-fresh=2",
            4 => "only-if-cached",
            5 => "no-store",
            _ => return,
        };
        self.insists = matches!(demand, "no-cache" | "max-age=0");
        self.max_stale = (demand == "max-stale=5").then_some(5);
        self.add("cache-control", demand);
    }

    fn condition(&mut self, random: &mut Random, truth: &Truth) {
        let nth = random.below(4);
        let tag = truth.some_tag(self.place, nth);
        let range = random.of(&[
            "bytes=3-40",
            "bytes=-20",
            "bytes=70000-",
            "bytes=65000-140000",
        ]);
        match (random.below(16), tag) {
            (0 | 1, Some(tag)) => self.add("if-none-match", &tag),
            (2, _) => self.add("if-none-match", "*"),
            (3, Some(tag)) => self.add("if-match", &tag),
            (4, Some(tag)) => {
                self.add("range", range);
                self.add("if-range", &tag);
            }
            (5..=7, _) => self.add("range", range),
            _ => {}
        }
    }

    fn add(&mut self, name: &str, value: &str) {
        self.lines.push_str(&format!("{name}: {value}\r\n"));
    }

    pub(crate) fn is_unsafe(&self) -> bool {
        !matches!(self.method, "GET" | "HEAD")
    }

    pub(crate) fn is_conditional(&self) -> bool {
        self.lines.contains("if-none-match")
    }

    pub(crate) fn head(&self) -> String {
        let Self { method, place, .. } = self;
        let mut head = format!(
            "{method} {} HTTP/1.1\r\nhost: {}\r\nx-ask: {}\r\n{}",
            place.path, place.host, self.id, self.lines
        );
        if !self.language.is_empty() {
            head += &format!("accept-language: {}\r\n", self.language);
        }
        if self.is_authorized {
            head += "authorization: Basic eDp5\r\n";
        }
        if self.is_unsafe() {
            head += "content-length: 0\r\n";
        }
        head + "\r\n"
    }
}
