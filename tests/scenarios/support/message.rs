//! Heads as the two sides of the proxy see them.

use super::wire::Framing;

/// Field lines, in the order they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fields(Vec<(String, String)>);

impl Fields {
    /// Reads lines that each end with CR LF.
    ///
    /// # Panics
    /// Whatever is malformed: the proxy must never send such a thing.
    pub(crate) fn parse(lines: &[u8]) -> Fields {
        let mut fields = Vec::new();
        for line in text(lines).split_terminator("\r\n") {
            let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("a field line: {line:?}"));
            assert!(!name.is_empty() && name.bytes().all(is_token_byte), "a field name: {line:?}");
            assert!(!value.contains(['\r', '\n', '\0']), "a field value: {line:?}");
            assert_eq!(value, value.trim(), "a field value without white space around it");
            fields.push((name.to_owned(), value.to_owned()));
        }
        Fields(fields)
    }

    /// The values of every line of that name.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.0.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str()).collect()
    }

    /// The value of the only line of that name.
    pub(crate) fn one(&self, name: &str) -> Option<&str> {
        match self.all(name)[..] {
            [] => None,
            [value] => Some(value),
            ref several => panic!("{name} stands there {} times: {several:?}", several.len()),
        }
    }

    /// Whether there is a line of that name.
    pub(crate) fn has(&self, name: &str) -> bool {
        !self.all(name).is_empty()
    }

    /// Each line, without its end.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.iter().map(|(name, value)| format!("{name}: {value}")).collect()
    }

    /// How many lines there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// A first line and field lines.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) first: String,
    pub(crate) fields: Fields,
}

impl Head {
    /// Reads a head, the empty line included.
    pub(crate) fn parse(bytes: &[u8]) -> Head {
        let line_end = bytes.windows(2).position(|window| window == b"\r\n").unwrap();
        assert!(
            bytes.iter().enumerate().all(|(at, &b)| b != b'\n' || (at > 0 && bytes[at - 1] == b'\r')),
            "a bare LF"
        );
        let head = Head {
            first: text(&bytes[..line_end]),
            fields: Fields::parse(&bytes[line_end + 2..bytes.len() - 2]),
        };
        let fields = &head.fields;
        assert!(!(fields.has("Content-Length") && fields.has("Transfer-Encoding")), "two framings: {head:?}");
        head
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.one(name)
    }

    /// The status of a response.
    pub(crate) fn status(&self) -> u16 {
        assert!(self.first.starts_with("HTTP/1.1 "), "{}", self.first);
        self.first[9..12].parse().unwrap()
    }

    /// The method of a request.
    pub(crate) fn method(&self) -> &str {
        self.first.split(' ').next().unwrap()
    }

    /// The target of a request.
    pub(crate) fn target(&self) -> &str {
        self.first.split(' ').nth(1).unwrap()
    }

    /// What the framing fields say, if they say anything.
    fn declared(&self) -> Option<Framing> {
        if let Some(codings) = self.field("Transfer-Encoding") {
            assert_eq!(codings, "chunked");
            return Some(Framing::Chunked);
        }
        self.field("Content-Length").map(|length| Framing::Known(length.parse().unwrap()))
    }

    /// How the content of this request is framed.
    pub(crate) fn request_framing(&self) -> Framing {
        self.declared().unwrap_or(Framing::Known(0))
    }

    /// How the content of this response to a request with that method is framed.
    pub(crate) fn response_framing(&self, method: &str) -> Framing {
        match self.status() {
            _ if method == "HEAD" => Framing::Known(0),
            100..=199 | 204 | 304 => Framing::Known(0),
            _ => self.declared().unwrap_or(Framing::UntilClose),
        }
    }
}

/// Bytes as text: Latin-1, so that nothing is lost.
pub(crate) fn text(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// A GET.
pub(crate) fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: example.com\r\n\r\n")
}

/// A GET with more field lines, each with its CR LF.
pub(crate) fn get_with(target: &str, fields: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: example.com\r\n{fields}\r\n")
}

/// A POST with a Content-Length.
pub(crate) fn post(target: &str, content: &[u8]) -> Vec<u8> {
    let head =
        format!("POST {target} HTTP/1.1\r\nHost: example.com\r\nContent-Length: {}\r\n\r\n", content.len());
    [head.as_bytes(), content].concat()
}

/// The head of a chunked POST, with more field lines.
pub(crate) fn post_chunked_head(target: &str, fields: &str) -> String {
    format!("POST {target} HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n{fields}\r\n")
}

/// A response with a Content-Length.
pub(crate) fn ok(content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", content.len());
    [head.as_bytes(), content].concat()
}

/// A chunk.
pub(crate) fn chunk(content: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", content.len()).as_bytes(), content, b"\r\n"].concat()
}

/// Content in chunks of random sizes, the last chunk included.
pub(crate) fn in_random_chunks(content: &[u8], most: usize, seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut coded = Vec::with_capacity(content.len() + content.len() / 8);
    let mut rest = content;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(random.usize(1..=most).min(rest.len()));
        coded.extend_from_slice(&chunk(piece));
        rest = after;
    }
    coded.extend_from_slice(b"0\r\n\r\n");
    coded
}
