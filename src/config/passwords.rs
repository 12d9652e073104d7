//! Files with the hashes of passwords, in the form of htpasswd: `NAME:HASH` in each line, with hashes by bcrypt
//! (`$2y$…`) or Argon2 (`$argon2id$…`). Nothing weaker is taken, and nothing so costly that a few requests would keep
//! the machine busy.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr as _;

use argon2::password_hash::phc::PasswordHash;
use sha2::{Digest, Sha256};

/// Bytes of a user's name.
pub const NAME_BYTES_MAX: usize = 255;

/// Users of one file.
pub const USERS_MAX: usize = 100_000;

/// What may be spent by bcrypt: 2^14 rounds take about a second.
const BCRYPT_COSTS: std::ops::RangeInclusive<u32> = 4..=14;

/// KiB of memory that one Argon2 may take.
const ARGON2_KIB_MAX: u32 = 128 << 10;

/// Passes over it.
const ARGON2_PASSES_MAX: u32 = 16;

/// KiB that all passes together go over: about a second.
const ARGON2_WORK_MAX: u32 = 1 << 20;

/// Lanes.
const ARGON2_LANES_MAX: u32 = 16;

/// What one uses instead of a weak scheme.
const INSTEAD: &str = "use bcrypt (htpasswd -B) or Argon2 (argon2id)";

/// The users of a file, with the hashes of their passwords.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Users {
    entries: Vec<Entry>,
    places: HashMap<Box<[u8]>, usize>,
}

/// A user.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    scheme: Scheme,
    hash: Box<str>,
    digest: [u8; 32],
}

/// How a password is hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// By bcrypt, with the first 72 bytes of the password.
    Bcrypt,
    /// By one of the three kinds of Argon2.
    Argon2,
}

impl Entry {
    /// How the password is hashed.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The hash, as it is written.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Tells this hash from every other one.
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }
}

impl Users {
    /// The users of a text. Lines that are empty or begin with `#` say nothing.
    ///
    /// # Errors
    /// What is wrong in which line. What the line says is not repeated, for it may be a secret.
    pub fn read(text: &str) -> Result<Users, String> {
        let mut users = Users::default();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim_end_matches([' ', '\t', '\r']);
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            users.add(line).map_err(|message| format!("line {}: {message}", at + 1))?;
        }
        Ok(users)
    }

    fn add(&mut self, line: &str) -> Result<(), String> {
        let (name, hash) = line.split_once(':').ok_or("has no colon: `NAME:HASH` is wanted")?;
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
            return Err(format!("a name has 1 to {NAME_BYTES_MAX} bytes and no control characters"));
        }
        // In a field that tells the upstream of it, blanks around it would be lost.
        if name.trim() != name {
            return Err("a name has no blanks in front or behind".to_owned());
        }
        if self.entries.len() == USERS_MAX {
            return Err(format!("there are more than {USERS_MAX} users"));
        }
        let scheme = check(hash)?;
        let place = self.entries.len();
        if self.places.insert(name.as_bytes().into(), place).is_some() {
            return Err("there is a line for this user already".to_owned());
        }
        self.entries.push(Entry { scheme, hash: hash.into(), digest: Sha256::digest(hash).into() });
        Ok(())
    }

    /// The user of that name.
    pub fn find(&self, name: &[u8]) -> Option<&Entry> {
        self.entries.get(*self.places.get(name)?)
    }

    /// Some user, the same for the same number: whoever asks for one that there is not is to wait as long as others.
    pub fn any(&self, number: u64) -> Option<&Entry> {
        let count = self.entries.len() as u64;
        let place = number.checked_rem(count)?;
        self.entries.get(usize::try_from(place).ok()?)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none, so that nobody comes in.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// Hashes are nobody's business.
impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Users({})", self.len())
    }
}

/// What a hash is made by, if it is of a kind that is taken.
fn check(hash: &str) -> Result<Scheme, String> {
    let weak = |scheme: &str| Err(format!("hashes by {scheme} are too weak; {INSTEAD}"));
    if ["$2a$", "$2b$", "$2y$"].iter().any(|start| hash.starts_with(start)) {
        return check_bcrypt(hash);
    }
    if hash.starts_with("$argon2") {
        return check_argon2(hash);
    }
    match hash {
        "" => Err("has no hash".to_owned()),
        _ if hash.starts_with("$2x$") => weak("a bcrypt that was broken ($2x$)"),
        _ if hash.starts_with("$apr1$") || hash.starts_with("$1$") => weak("MD5"),
        _ if hash.starts_with("{SHA}") || hash.starts_with("{SSHA") => weak("SHA-1"),
        _ if hash.starts_with("$5$") || hash.starts_with("$6$") => weak("SHA-crypt"),
        _ if hash.len() == 13 && hash.bytes().all(|b| b.is_ascii_alphanumeric() || b"./".contains(&b)) => {
            weak("crypt")
        }
        _ if hash.starts_with('$') => Err(format!("the scheme of the hash is not known; {INSTEAD}")),
        _ => Err(format!("this is no hash, and a password as it is would be too weak; {INSTEAD}")),
    }
}

fn check_bcrypt(hash: &str) -> Result<Scheme, String> {
    bcrypt::HashParts::from_str(hash).map_err(|_| "the bcrypt hash is malformed".to_owned())?;
    // Leniently read above: two digits it has to be.
    let cost = hash.get(4..6).filter(|cost| cost.bytes().all(|b| b.is_ascii_digit()));
    let cost: Option<u32> = cost.and_then(|cost| cost.parse().ok());
    match cost {
        Some(cost) if BCRYPT_COSTS.contains(&cost) => Ok(Scheme::Bcrypt),
        _ => {
            let (least, most) = (BCRYPT_COSTS.start(), BCRYPT_COSTS.end());
            Err(format!("the cost of a bcrypt hash is from {least} to {most}, or it keeps the machine busy"))
        }
    }
}

fn check_argon2(hash: &str) -> Result<Scheme, String> {
    let malformed = || "the Argon2 hash is malformed".to_owned();
    let parsed = PasswordHash::new(hash).map_err(|_| malformed())?;
    if !matches!(parsed.algorithm.as_str(), "argon2id" | "argon2i" | "argon2d") || parsed.salt.is_none() {
        return Err(malformed());
    }
    let long = parsed.hash.as_ref().is_some_and(|output| output.len() >= 16);
    let version = parsed.version.is_none_or(|version| matches!(version, 16 | 19));
    let params = argon2::Params::try_from(&parsed).map_err(|_| malformed())?;
    if !long || !version {
        return Err(malformed());
    }
    let (kib, passes) = (params.m_cost(), params.t_cost());
    if kib > ARGON2_KIB_MAX
        || passes > ARGON2_PASSES_MAX
        || kib.saturating_mul(passes) > ARGON2_WORK_MAX
        || params.p_cost() > ARGON2_LANES_MAX
    {
        return Err(format!(
            "the Argon2 hash costs too much: m is at most {ARGON2_KIB_MAX}, t {ARGON2_PASSES_MAX}, \
             m times t {ARGON2_WORK_MAX}, p {ARGON2_LANES_MAX}"
        ));
    }
    Ok(Scheme::Argon2)
}

#[cfg(test)]
#[path = "passwords_tests.rs"]
mod tests;
