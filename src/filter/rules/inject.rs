//! SQL injection and scripts in single values.
//!
//! ```text
//!   value ─▶ expressions ─▶ what nobody writes by chance ───────────────▶ it is one
//!                 └───────▶ what looks like the way out of a statement ─▶ what the library says of that place
//! ```
//!
//! The library alone stops much that people write: searches with quotation marks, brackets and `and`, sentences with an
//! apostrophe, any text with `style=`. So it is asked about SQL only where a value leaves the literal or the number
//! that it stands in, which few places in honest texts look like, and it is shown just that place: its time grows with
//! every byte that it is shown. Of scripts the expressions alone decide, for it cannot tell rich text from them.

use std::cell::Cell;
use std::sync::LazyLock;

use libinjectionrs::{SqliFlags, SqliState};
use regex::bytes::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};

/// So often the library is asked about one request: nobody writes more of what it is asked about.
pub const ASKS_MAX: usize = 16;
/// So many bytes it is shown in front of where a literal ends, and behind.
const BEFORE_BYTES: usize = 32;
const BEHIND_BYTES: usize = 160;

/// What tells them; each core's engine has its own copy.
#[derive(Clone, Debug)]
pub struct Detectors {
    sql: RegexSet,
    way_out: Option<Regex>,
    markup: RegexSet,
}

/// Blanks, brackets and comments between words.
const GAP: &str = r"(?:[\s(]|/\*[^*/]*\*/)*";
/// The end of the first literal of its kind: whatever begins behind an earlier mark is within what was sent.
const END: &str = r"^(?:[^']*'|[^\x22]*\x22|[^`]*`)";
/// The same or the end of a number that all begins with.
const LEFT: &str = r"^(?:[^']*'|[^\x22]*\x22|[^`]*`|\s*[-+]?\d[\d.]*)[\s)]*";
const OR: &str = r"(?:(?:or|and|xor|having)\b|\|\||&&|(?:or|and)\d)";

/// What is an injection whatever stands around it.
const SQL: &[&str] = &[
    // Another statement's rows. In prose a name stands behind `select`, but no list and no `from`.
    r"(?:\b|\d)union{gap}(?:all|distinct)?{gap}select\b{gap}(?:\d|['\x22`*@]|null\b|[a-z_.]+\s*[,(]|[a-z_.]+\s+(?:from|into)\b)",
    r"(?:\b|\d)union{gap}(?:all|distinct)?\s*\({gap}select\b",
    // Functions that wait, fail or read files, with what they need for it.
    r"(?:\b(?:and|or|xor|select|then|else)\b|[,'\x22|&])[\s(]*(?:sleep|pg_sleep|benchmark)\s*\(\s*\d",
    r"\b(?:extractvalue|updatexml)\s*\(\s*(?:\d|['\x22]|null)",
    r"\bload_file\s*\(\s*(?:['\x22]|0x)",
    r"\bwaitfor{gap}delay\s*['\x22(]",
    r"\binto{gap}(?:out|dump)file\s*['\x22(]",
    // A statement behind a single word.
    r"^[^\s+%;]*['\x22)\s]*;{gap}(?:drop\s+(?:table|database|user|view)\s+\w|insert\s+into\s+\w|update\s+\w+\s+set\s|delete\s+from\s+\w|create\s+(?:table|user|database)\s|alter\s+(?:table|user|database)\s|truncate\s+table\s|exec(?:ute)?[\s(]+(?:xp_|sp_|master|@)|declare\s+@|shutdown\b\s*(?:-|;|$)|select\s+(?:\*|[\w,.(]+\s+from\b|(?:pg_)?sleep))",
    // A statement in brackets, in place of a value.
    r"^[^\s(]{0,16}\(+\s*select\b{gap}(?:\d|['\x22`*@]|null\b|[a-z_.]+\s*[,(])",
    r"\(\s*select[\s(]+(?:@@\w|case\s+when\b)",
    // A name, and nothing of the statement behind it.
    r"^[\w@.-]+['\x22][\s)]*;?\s*(?:#|--[\s+-]*|/\*)$",
];

/// Where a value may leave what it stands in.
const WAY_OUT: &[&str] = &[
    // `' or 'a'='a`, `1) and (1=1`: something is compared.
    r"{end}[\s)]*{or}{gap}(?:not\b{gap})?(?:['\x22`][^'\x22`]*['\x22`]?|[\w.@+-]+{gap}\)*)\s*(?:[=<>]|!=|\b(?:like|rlike|regexp|between|is|in)\b)",
    // A number is compared to another.
    r"\b(?:or|and|xor|having|where){gap}['\x22]?\d+['\x22]?\s*=\s*['\x22(]*\d",
    r"^\s*[-+]?\d[\d.]*[\s)]*{or}{gap}['\x22]?\d+['\x22]?\s*(?:[=<>]|\blike\b)",
    // The rest of the statement is a comment.
    r"{end}[\s)]*(?:;\s*)?(?:--[\s+\w-]{0,8}|#\w{0,8}|/\*[^*]{0,8})$",
    r"{left}{or}{gap}(?:not\b{gap})?(?:true|false|null|\d+|['\x22]\w*['\x22]?)[\s)]*(?:--|#|/\*|;)",
    r"{left}(?:order|group){gap}by{gap}\d+[\s,\d)]*(?:--|#|/\*)",
    r"{end}[\s)]*(?:order|group)\s+by\s+\d",
    // Something is asked with functions or another statement.
    r"{left}(?:{or}|,|\|\||\+|[*/=<>-]|\b(?:in|rlike|regexp|like)\b){gap}(?:not\b{gap})?(?:select\b|case\s+when\b|(?:ascii|ord|mid|substr|substring|length|char|concat|database|user|version|exists|if|cast|convert|hex|elt|make_set|row|rand|load_file|dbms_\w+\.\w+|utl_\w+\.\w+)\s*\()",
    r"^\w*'='",
];

/// Letters with what browsers let pass between them.
const JAVASCRIPT: &str = r"(?:j[\x00-\x20]*a[\x00-\x20]*v[\x00-\x20]*a[\x00-\x20]*|v[\x00-\x20]*b[\x00-\x20]*|l[\x00-\x20]*i[\x00-\x20]*v[\x00-\x20]*e[\x00-\x20]*)s[\x00-\x20]*c[\x00-\x20]*r[\x00-\x20]*i[\x00-\x20]*p[\x00-\x20]*t[\x00-\x20]*:";
/// What happens to elements: as it begins, for there is more every year.
const EVENT: &str = r"on(?:abort|after|anim|aux|before|begin|blur|bounce|can|change|click|close|content|context|copy|cue|cut|dbl|device|drag|drop|duration|end|error|finish|focus|form|full|got|hash|input|invalid|key|load|lost|media|message|mouse|offline|page|paste|play|pointer|pop|progress|rate|repeat|reset|resize|scroll|search|seek|select|show|slot|stalled|start|storage|submit|suspend|time|toggle|touch|transition|unhandled|unload|volume|wait|webkit|wheel)[a-z]*";

const MARKUP: &[&str] = &[
    // Elements that load or carry out something.
    r"<[\s/]*(?:script|iframe|frame|frameset|embed|object|applet|base|meta|link|xss|vmlframe|isindex)(?:[\s/>]|$)",
    r"<!entity\b|<\?import\b",
    // Something that happens to an element, with or without marks around other attributes.
    r"<[a-z/?!][^>]*[\s/\x22'`]on[a-z]{3}[a-z]*\s*=\s*\S",
    r#"<[a-z/?!](?:[^>"']|"[^"]*"|'[^']*')*[\s/\x22'`]on[a-z]{3}[a-z]*\s*=\s*\S"#,
    // The same for who is within an attribute already: it calls something.
    r"(?:^|[\s/\x22'`]){event}\s*=[\s\x22'`]*[\w$.\[\]]+\s*[(`=]",
    r"(?:^|[\x22'`])[\s\w=]*[\s/\x22'`]{event}\s*=\s*[\x22'`]?\s*[\w$.\[\]]+[(`=]",
    // Addresses that carry out what they say.
    r"(?:href|src|action|data|background|poster|from|to|values|content|url)\s*=[\x00-\x20]*[\x22'`]?[\x00-\x20]*{javascript}",
    r"^[\x00-\x20\x22'`>]*{javascript}\s*(?:[\w.$\[\]'\x22!~-]*[(`=]|//)",
    r"\]\(\s*{javascript}",
    r"(?:href|src|action|data)\s*=\s*[\x22'`]?\s*data:(?:text/html|image/svg\+xml|application/xhtml)",
    r"<[a-z][^>]*\bsrcdoc\s*=",
    r"<[a-z][^>]*\bstyle\s*=[^>]*(?:expression\s*\(|behaviou?r\s*:|-moz-binding|{javascript})",
];

static DETECTORS: LazyLock<Detectors> = LazyLock::new(|| {
    let (sql, way_out, markup) = (sources(SQL), sources(WAY_OUT), sources(MARKUP));
    let all = |sources: &[String]| {
        let mut builder = RegexSetBuilder::new(sources);
        builder.unicode(false).case_insensitive(true).dfa_size_limit(TABLE_BYTES_MAX);
        // What does not read is found by the tests, all of which need it.
        builder.build().unwrap_or_else(|_| RegexSet::empty())
    };
    let mut one = RegexBuilder::new(&format!("(?:{})", way_out.join(")|(?:")));
    one.unicode(false).case_insensitive(true).dfa_size_limit(TABLE_BYTES_MAX);
    Detectors { sql: all(&sql), way_out: one.build().ok(), markup: all(&markup) }
});

/// Bytes of a table that an expression makes while it runs.
const TABLE_BYTES_MAX: usize = 1 << 20;

fn sources(all: &[&str]) -> Vec<String> {
    let words = [("{gap}", GAP), ("{end}", END), ("{left}", LEFT), ("{or}", OR), ("{event}", EVENT)];
    let filled = |source: &&str| {
        let text = words.iter().fold((*source).to_owned(), |text, (name, meant)| text.replace(name, meant));
        text.replace("{javascript}", JAVASCRIPT)
    };
    all.iter().map(filled).collect()
}

impl Detectors {
    /// A copy with memory of its own for what is looked for.
    pub fn new() -> Detectors {
        DETECTORS.clone()
    }

    /// Whether a value, in one of its readings, is an injection into a statement of SQL. `asks` is how often the library
    /// may still be asked.
    pub fn is_sqli(&self, value: &[u8], asks: &Cell<usize>) -> bool {
        if !may_be_sqli(value) {
            return false;
        }
        if self.sql.is_match(value) {
            return true;
        }
        let Some(found) = self.way_out.as_ref().and_then(|way_out| way_out.find(value)) else { return false };
        let Some(left) = asks.get().checked_sub(1) else { return true };
        asks.set(left);
        // In front of the mark that is left by stands nothing but one literal.
        let mark = memchr::memchr3(b'\'', b'"', b'`', &value[found.range()]).unwrap_or(0) + found.start();
        let end = value.len().min(found.end() + BEHIND_BYTES);
        let start = mark.saturating_sub(BEFORE_BYTES);
        SqliState::new(&value[start..end], SqliFlags::FLAG_NONE).detect()
    }

    /// Whether a value, in one of its readings, has scripts or active markup in it.
    pub fn is_xss(&self, value: &[u8]) -> bool {
        may_be_xss(value) && self.markup.is_match(value)
    }
}

impl Default for Detectors {
    fn default() -> Detectors {
        Detectors::new()
    }
}

/// Whether it is worth asking: nearly all values have nothing of what it takes.
pub fn may_be_sqli(value: &[u8]) -> bool {
    const KINDS: [bool; 256] = kinds(b"'\"`(=#*;|,<>&@");
    if value.iter().any(|&byte| KINDS[usize::from(byte)]) {
        return true;
    }
    let has = |text: &[u8]| value.windows(text.len()).any(|part| part.eq_ignore_ascii_case(text));
    value.len() > 6 && (has(b"select") || has(b"--"))
}

/// Whether it is worth asking.
pub fn may_be_xss(value: &[u8]) -> bool {
    memchr::memchr3(b'<', b'=', b':', value).is_some()
}

const fn kinds(bytes: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut at = 0;
    while at < bytes.len() {
        table[bytes[at] as usize] = true;
        at += 1;
    }
    table
}

#[cfg(test)]
#[path = "inject_tests.rs"]
mod tests;
