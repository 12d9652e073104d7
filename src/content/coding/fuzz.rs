//! Fuzz bodies for what clients say of codings, and for coded content. The targets in `tests/fuzz` and the run over
//! the corpus in `tests/corpus.rs` only call them.

use std::cmp::Reverse;

use libdeflater::Decompressor;

use super::accept::Accepts;
use super::decoder::{BadCoding, Decoder, FREE_BYTES, expansion_max};
use super::encoder::{Effort, Encoder, Flow};
use super::facts::{Encoded, Facts};
use super::head::{Form, GROWTH_MAX, rewrite};
use super::whole::Whole;
use crate::h1::{HeadScanner, response};
use crate::http::coding::Coding;
use crate::http::{Fields, Name, list};
use crate::limits::{FIELDS_CEILING, HeadLimits};

/// The lines of Accept-Encoding: what is chosen is what a plain reader chooses, in whichever order and in however many
/// lines it is said, and what is said of no coding changes nothing.
pub fn accept_encoding(bytes: &[u8]) {
    let lines = || bytes.split(|&byte| byte == b'\n');
    let accepts = Accepts::of(lines());
    for preferred in [&Coding::ALL[..], &[Coding::Zstd, Coding::Gzip], &[Coding::Brotli], &[]] {
        let chosen = accepts.choose(preferred);
        assert_eq!(chosen, plainly_chosen(bytes, preferred));
        assert!(chosen.is_none_or(|chosen| preferred.contains(&chosen) && accepts.takes(chosen)));
    }
    let more = lines().chain([&b"deflate, compress;q=0.3, ;q=1, \"x"[..]]);
    assert_eq!(Accepts::of(more), accepts);
    let mut turned: Vec<&[u8]> = lines().collect();
    turned.reverse();
    assert_eq!(Accepts::of(turned.iter().copied()), accepts);
    assert_eq!(Accepts::of([&*turned.join(&b", "[..])].into_iter()), accepts);
    for coding in Coding::ALL {
        let refusal = format!("{};q=0", coding.name());
        let refused = Accepts::of(lines().chain([refusal.as_bytes()]));
        assert!(!refused.takes(coding) && refused.choose(&[coding]).is_none(), "{coding:?} after all");
    }
    let facts = Facts::of(200, None, [(Name::ContentEncoding, bytes)].into_iter());
    let names = bytes.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
    let mut names = names.filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case(b"identity"));
    match (facts.encoded, names.next(), names.next()) {
        (Encoded::Not, None, None) | (Encoded::Otherwise, Some(_), _) => {}
        (Encoded::As(coding), Some(name), None) => assert_eq!(Coding::recognise(name), Some(coding)),
        facts => panic!("{facts:?}"),
    }
}

/// What is chosen, by weights that are read as numbers are.
fn plainly_chosen(bytes: &[u8], preferred: &[Coding]) -> Option<Coding> {
    let text: String = bytes.iter().map(|&byte| char::from(byte)).collect();
    let mut said: Vec<(String, u32)> = Vec::new();
    for member in text.split([',', '\n']) {
        let parts: Vec<&str> = member.split(';').map(|part| part.trim_matches(OWS)).collect();
        let weight = match parts[..] {
            [_] => Some(1000),
            [_, weight] => weight.strip_prefix("q=").or(weight.strip_prefix("Q=")).and_then(thousandths),
            _ => None,
        };
        said.extend(weight.map(|weight| (parts[0].to_ascii_lowercase().replace("x-gzip", "gzip"), weight)));
    }
    let least = |name: &str| said.iter().filter(|(said, _)| said == name).map(|(_, weight)| *weight).min();
    let weight = |name: &str| least(name).or(least("*")).unwrap_or(0);
    let places = 0..preferred.len();
    let best = places.min_by_key(|&place| (Reverse(weight(preferred[place].name())), place))?;
    let won = weight(preferred[best].name());
    (won > 0 && won >= weight("identity")).then_some(preferred[best])
}

/// What is taken off around a member.
const OWS: [char; 5] = [' ', '\t', '\r', '\n', '\x0c'];

/// A number from 0 to 1 with at most three digits behind its dot.
fn thousandths(text: &str) -> Option<u32> {
    let (whole, digits) = text.split_once('.').unwrap_or((text, ""));
    let is_short = matches!(whole, "0" | "1") && digits.len() <= 3;
    let weight: u32 = format!("{whole}{digits:0<3}").parse().ok().filter(|_| is_short)?;
    (weight <= 1000 && digits.bytes().all(|byte| byte.is_ascii_digit())).then_some(weight)
}

/// Coded content, and how it is taken: the first byte says in which coding, with which effort and in which pieces. As
/// content that says that it is coded, decoding it ends, however it is split, and writes no more than it may. As content
/// to be coded, it comes back as it was.
pub fn coded(bytes: &[u8]) {
    let Some((&first, content)) = bytes.split_first() else { return };
    let coding = Coding::ALL[usize::from(first) % Coding::COUNT];
    let piece = usize::from(first).max(1);
    let whole = decoded(coding, content, content.len().max(1), 4096);
    let is_short = whole.as_ref().is_ok_and(|whole| whole.len() <= AGAIN_BYTES_MAX);
    let least = if is_short { piece } else { 4096 };
    for (piece, window) in [(piece, 4096), (1, 4096), (content.len().max(1), least)] {
        let split = decoded(coding, content, piece, window);
        // When an explosion is seen depends on how far the input has been read.
        if ![&whole, &split].contains(&&Err(BadCoding::Explodes)) {
            assert!(whole.as_ref().ok() == split.as_ref().ok(), "split into {piece}, written by {window}");
        }
    }
    if let (Coding::Gzip, Ok(whole)) = (coding, &whole)
        && !content.is_empty()
    {
        let member = other_gzip(content, whole.len()).expect("what is taken here is taken by others");
        assert!(whole.starts_with(&member), "another decoder finds something else");
    }
    let effort = Effort { level: 1 + first / 3 % 6, window_bits: 10 + first % 8 };
    assert_comes_back(coding, effort, content, piece);
    if let Ok(content) = whole {
        assert_comes_back(coding, effort, &content[..content.len().min(AGAIN_BYTES_MAX)], piece);
    }
}

/// So much of what came of decoding is looked at more closely.
const AGAIN_BYTES_MAX: usize = 64 * 1024;

/// Content comes back, however it is coded.
fn assert_comes_back(coding: Coding, effort: Effort, content: &[u8], piece: usize) {
    let Ok(mut encoder) = Encoder::new(coding, effort) else { return };
    let coded = encoded(&mut encoder, content, piece);
    assert!(decoded(coding, &coded, piece, 4096).as_deref() == Ok(content));
    assert!(content.is_empty() || decoded(coding, &coded[..coded.len() - 1], 4096, 4096).is_err());
    // The memory of a stream that broke off, and of one that ended, serves another.
    let (mut out, half) = ([0; 4096], &content[..content.len() / 2]);
    for _ in 0..2 {
        if encoder.begin_again() {
            let again = encoded(&mut encoder, content, piece);
            assert!(decoded(coding, &again, piece, 4096).as_deref() == Ok(content), "something was left");
            assert!(encoder.begin_again() && encoder.step(half, &mut out, Flow::More).is_ok());
        }
    }
    if coding == Coding::Gzip {
        assert!(other_gzip(&coded, content.len()).as_deref() == Some(content));
        let mut out = vec![0; content.len() + content.len() / 8 + 1024];
        let made = Whole::new(effort.level).make(content, &mut out).expect("there is room");
        assert!(decoded(Coding::Gzip, &out[..made], piece, 4096).as_deref() == Ok(content));
    }
}

/// What another library makes of the first member, of at most that length.
fn other_gzip(coded: &[u8], length_max: usize) -> Option<Vec<u8>> {
    let mut out = vec![0; length_max];
    let length = Decompressor::new().gzip_decompress(coded, &mut out).ok()?;
    out.truncate(length);
    Some(out)
}

/// Codes content that comes in such pieces. After every other one all that came so far can be decoded.
fn encoded(encoder: &mut Encoder, content: &[u8], piece: usize) -> Vec<u8> {
    let (mut out, mut window) = (Vec::new(), vec![0; 64 + piece]);
    let mut decoder = Decoder::new(encoder.coding()).ok();
    let mut came = 0;
    for (at, part) in content.chunks(piece).chain([&b""[..]]).enumerate() {
        came += part.len();
        let flow = match at {
            _ if part.is_empty() => Flow::Finish,
            _ if at % 2 == 1 && at < 16 => Flow::Flush,
            _ => Flow::More,
        };
        let (before, mut rest) = (out.len(), part);
        loop {
            let step = encoder.step(rest, &mut window, flow).expect("there is memory");
            assert!(step.done || step.produced > 0 || step.consumed > 0, "it does not get on");
            out.extend_from_slice(&window[..step.produced]);
            rest = &rest[step.consumed..];
            if step.done {
                break;
            }
        }
        assert!(rest.is_empty(), "something was left over");
        let Some(decoder) = &mut decoder else { continue };
        let mut room = vec![0; came + 1];
        let step = decoder.step(&out[before..], &mut room).expect("what was coded is well-formed");
        assert!(step.done);
        came -= step.produced;
        assert!(flow == Flow::More || came == 0, "something was held back");
    }
    out
}

fn decoded(coding: Coding, content: &[u8], piece: usize, window: usize) -> Result<Vec<u8>, BadCoding> {
    let mut decoder = Decoder::new(coding).map_err(|_| BadCoding::Malformed)?;
    let (mut out, mut window) = (Vec::new(), vec![0; window]);
    for mut piece in content.chunks(piece) {
        loop {
            let step = decoder.step(piece, &mut window)?;
            out.extend_from_slice(&window[..step.produced]);
            piece = &piece[step.consumed..];
            if step.done {
                break;
            }
            assert!(step.produced > 0, "it does not get on");
        }
    }
    let most = FREE_BYTES + (1 << 20) + content.len() as u64 * expansion_max(coding);
    assert!(out.len() as u64 <= most);
    decoder.end()?;
    Ok(out)
}

/// The field lines of a response and what is behind them: a head that is written again is a head, and says the same of
/// everything but the content's form.
pub fn head(bytes: &[u8]) {
    let bytes = [b"HTTP/1.1 200 OK\r\n", bytes].concat();
    for form in [Form::Varied, Form::Changed(None), Form::Changed(Some(Coding::Gzip))] {
        let mut once = Vec::new();
        rewrite(&mut once, &bytes, form);
        let Some(before) = pairs(&bytes) else { continue };
        // There is one tag, unless somebody is up to something.
        let tags = before.all.iter().filter(|(name, _)| name == b"etag").count();
        let most = bytes.len() + GROWTH_MAX + 3 * tags.saturating_sub(1);
        assert!(once.len() <= most, "it grew by {}", once.len() - bytes.len());
        let after = pairs(&once).expect("what was written is a head");
        assert_eq!(after.rest, before.rest, "what is behind it");
        assert_eq!(after.others(), before.others_in(form));
        let mut want = before.varies_by();
        if !want.iter().any(|name| matches!(&**name, b"*" | b"accept-encoding")) {
            want.push(b"accept-encoding".to_vec());
        }
        want.sort();
        assert_eq!(after.varies_by(), want);
        let mut twice = Vec::new();
        rewrite(&mut twice, &once, form);
        let again = pairs(&twice).expect("it is a head still");
        assert_eq!((again.others(), again.varies_by()), (after.others(), want));
    }
}

/// The field lines of a head, and what is behind it.
struct Lines<'a> {
    all: Vec<(Vec<u8>, Vec<u8>)>,
    rest: &'a [u8],
}

/// Reads a head, as a client does.
fn pairs(bytes: &[u8]) -> Option<Lines<'_>> {
    let end = HeadScanner::default().scan(bytes).ok()??;
    let limits = HeadLimits { fields_max: FIELDS_CEILING, ..HeadLimits::default() };
    let mut lines = Vec::new();
    response::parse(&bytes[..end], &limits, &mut lines).ok()?;
    let fields = Fields::new(bytes, &lines);
    let all = fields.iter().map(|(_, name, value)| (name.to_ascii_lowercase(), value.to_vec())).collect();
    Some(Lines { all, rest: &bytes[end..] })
}

impl Lines<'_> {
    /// What Vary lists, in the order of the alphabet.
    fn varies_by(&self) -> Vec<Vec<u8>> {
        let vary = self.all.iter().filter(|(name, _)| name == b"vary");
        let names = vary.flat_map(|(_, value)| list::tokens(value)).map(<[u8]>::to_ascii_lowercase);
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }

    /// The lines beside Vary.
    fn others(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.all.iter().filter(|(name, _)| name != b"vary").cloned().collect()
    }

    /// The same, where the content has another form.
    fn others_in(&self, form: Form) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut others = self.others();
        let Form::Changed(coding) = form else { return others };
        others.retain(|(name, _)| {
            ![
                &b"content-encoding"[..],
                b"content-length",
                b"accept-ranges",
                b"content-digest",
                b"content-md5",
                b"digest",
                b"repr-digest",
                b"trailer",
            ]
            .contains(&&**name)
        });
        for (_, tag) in others.iter_mut().filter(|(name, _)| name == b"etag") {
            let marks = tag.iter().filter(|&&byte| byte == b'"').count();
            if marks == 2 && tag.starts_with(b"\"") && tag.ends_with(b"\"") {
                tag.splice(..0, *b"W/");
            }
        }
        others.extend(coding.map(|coding| (b"content-encoding".to_vec(), coding.name().into())));
        others
    }
}
