//! Tokens that clients authenticate with, as the SHA-256 of each: `sha256:HEX`, and behind it a name for the log, if
//! it is to have one. A token is a secret that was made by chance, of 128 bits or more; so a plain hash of it is
//! enough, for nobody tries so many.

use std::fmt;

/// Tokens of one list.
pub const TOKENS_MAX: usize = 100_000;

/// Bytes of a token's name.
const NAME_BYTES_MAX: usize = 255;

/// Hexadecimal digits of a hash.
const DIGITS: usize = 64;

/// Known tokens, by their hashes.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Tokens {
    /// In the order of the hashes.
    all: Vec<Token>,
}

/// A token.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token {
    /// Its SHA-256.
    pub hash: [u8; 32],
    /// Its name in the log; it may be empty.
    pub name: Box<str>,
}

impl Token {
    /// A token as it is written.
    ///
    /// # Errors
    /// What is wrong with it, without repeating it: it may be a token itself.
    pub fn read(text: &str) -> Result<Token, String> {
        let wanted =
            || format!("is no hash of a token: `sha256:` and {DIGITS} hexadecimal digits are wanted");
        let rest = text.strip_prefix("sha256:").ok_or_else(wanted)?;
        let (digits, name) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
        let name = name.trim();
        if digits.len() != DIGITS || !digits.is_ascii() {
            return Err(wanted());
        }
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
            let digit = |digit: u8| char::from(digit).to_digit(16);
            let both = digit(pair[0]).zip(digit(pair[1])).and_then(|(a, b)| u8::try_from(a * 16 + b).ok());
            *byte = both.ok_or_else(wanted)?;
        }
        if name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
            return Err(format!(
                "the name of a token has at most {NAME_BYTES_MAX} bytes and no control characters"
            ));
        }
        Ok(Token { hash, name: name.into() })
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.hash.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        if self.name.is_empty() { Ok(()) } else { write!(f, " {}", self.name) }
    }
}

impl Tokens {
    /// The tokens of a text, one in each line. Lines that are empty or begin with `#` say nothing.
    ///
    /// # Errors
    /// What is wrong in which line.
    pub fn read(text: &str) -> Result<Tokens, String> {
        let mut all = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if all.len() == TOKENS_MAX {
                return Err(format!("line {}: there are more than {TOKENS_MAX} tokens", at + 1));
            }
            all.push(Token::read(line).map_err(|message| format!("line {}: {message}", at + 1))?);
        }
        Tokens::new(all)
    }

    /// These tokens.
    ///
    /// # Errors
    /// One is there twice.
    pub fn new(mut all: Vec<Token>) -> Result<Tokens, String> {
        all.sort();
        match all.windows(2).any(|pair| pair[0].hash == pair[1].hash) {
            true => Err("a token is there twice".to_owned()),
            false => Ok(Tokens { all }),
        }
    }

    /// The tokens, in the order of their hashes.
    pub fn all(&self) -> &[Token] {
        &self.all
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokens({})", self.all.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";

    #[test]
    fn tokens_are_read_with_and_without_names_and_written_as_they_were() {
        let text =
            format!("# tokens\n\n{HASH} the build\n{}0\n", &HASH.replace("sha256:2", "sha256:1")[..70]);
        let tokens = Tokens::read(&text).unwrap();
        let written: Vec<_> = tokens.all().iter().map(ToString::to_string).collect();
        assert_eq!(written.len(), 2);
        assert_eq!(written[1], format!("{HASH} the build"));
        for token in tokens.all() {
            assert_eq!(Token::read(&token.to_string()), Ok(token.clone()));
        }
    }

    #[test]
    fn what_is_no_hash_is_refused_and_not_repeated() {
        for wrong in
            ["", "secret", "sha256:", "sha256:12", &HASH[..70], &HASH.replace('2', "g"), &format!("{HASH}0")]
        {
            let said = Token::read(wrong).unwrap_err();
            assert!(said.contains("sha256:") && !said.contains("secret"), "{said}");
        }
        assert!(Tokens::read(&format!("{HASH}\n\n{HASH} x")).unwrap_err().contains("twice"));
        assert!(Tokens::read(&format!("{HASH}\nsecret")).unwrap_err().starts_with("line 2: "));
    }
}
