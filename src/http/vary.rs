//! Names that Vary has to list (RFC 9110, section 12.5.5), brought into the lines of a head while they are written.

use super::list;

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct Varying<'a> {
    /// Those that none of the lines has listed so far.
    wanted: [Option<&'a [u8]>; 2],
    /// Where the first value that lists something ends in what was written.
    end: Option<usize>,
}

impl<'a> Varying<'a> {
    /// These have to be listed.
    pub fn new(wanted: [Option<&'a [u8]>; 2]) -> Varying<'a> {
        Varying { wanted, end: None }
    }

    /// Takes note of a Vary that was just written, up to `end` without the end of its line.
    pub fn see(&mut self, value: &[u8], end: usize) {
        for wanted in &mut self.wanted {
            let is_listed = |name: &&[u8]| list::has_token(value, name) || list::has_token(value, b"*");
            *wanted = wanted.filter(|name| !is_listed(name));
        }
        if !value.is_empty() {
            self.end.get_or_insert(end);
        }
    }

    /// Adds what is not listed to the first line that lists something, or writes a line where there is none.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut end = self.end;
        for &name in self.wanted.iter().flatten() {
            let line = out.len();
            match end {
                Some(at) => {
                    drop(out.splice(at..at, b", ".iter().chain(name).copied()));
                    end = Some(at + b", ".len() + name.len());
                }
                None => {
                    [b"Vary: ", name, b"\r\n"].iter().for_each(|part| out.extend_from_slice(part));
                    end = Some(line + b"Vary: ".len() + name.len());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn varied(values: &[&str], wanted: [Option<&[u8]>; 2]) -> String {
        let mut out = b"A: b\r\n".to_vec();
        let mut varying = Varying::new(wanted);
        for value in values {
            out.extend_from_slice(format!("vary: {value}").as_bytes());
            varying.see(value.as_bytes(), out.len());
            out.extend_from_slice(b"\r\nC: d\r\n");
        }
        varying.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_name_is_listed_once() {
        for (values, want) in [
            (&["Origin"][..], "A: b\r\nvary: Origin, Accept\r\nC: d\r\n"),
            (&["a", "b"], "A: b\r\nvary: a, Accept\r\nC: d\r\nvary: b\r\nC: d\r\n"),
            (&["a", "ACCEPT"], "A: b\r\nvary: a\r\nC: d\r\nvary: ACCEPT\r\nC: d\r\n"),
            (&["x, accept"], "A: b\r\nvary: x, accept\r\nC: d\r\n"),
            (&["*"], "A: b\r\nvary: *\r\nC: d\r\n"),
            (&[""], "A: b\r\nvary: \r\nC: d\r\nVary: Accept\r\n"),
            (&[], "A: b\r\nVary: Accept\r\n"),
        ] {
            assert_eq!(varied(values, [Some(b"Accept"), None]), want, "{values:?}");
            assert_eq!(varied(values, [None, Some(b"Accept")]), want, "{values:?}");
        }
        assert_eq!(varied(&["a"], [None, None]), "A: b\r\nvary: a\r\nC: d\r\n");
    }

    #[test]
    fn two_names_share_a_line() {
        let both = [Some(&b"Accept"[..]), Some(&b"Origin"[..])];
        assert_eq!(varied(&[], both), "A: b\r\nVary: Accept, Origin\r\n");
        assert_eq!(varied(&["a"], both), "A: b\r\nvary: a, Accept, Origin\r\nC: d\r\n");
        assert_eq!(varied(&["origin"], both), "A: b\r\nvary: origin, Accept\r\nC: d\r\n");
        assert_eq!(varied(&["*"], both), "A: b\r\nvary: *\r\nC: d\r\n");
    }
}
