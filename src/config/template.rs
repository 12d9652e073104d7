//! Texts with variables in them: `https://{host}/new/{id}`.

use std::fmt;
use std::str::FromStr;

use crate::http::fields::is_token;

/// A text with variables. A brace that is meant as such is written twice. No two texts stand side by side,
/// and none is empty, so that equal templates are written alike.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// This text; it has no control characters, but for tabs and line ends in [content](Template::for_content).
    Text(String),
    /// What the variable stands for.
    Variable(Variable),
}

/// What a variable stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Variable {
    /// `{client_ip}`: the client's address, as far as proxies in front are trusted.
    ClientIp,
    /// `{scheme}`: `http`, or what a trusted proxy in front was asked by.
    Scheme,
    /// `{host}`: the host asked for, in lower case, without port.
    Host,
    /// `{port}`: the port asked for; empty where none was written.
    Port,
    /// `{method}`
    Method,
    /// `{path}`: the path in normal form.
    Path,
    /// `{query}`: the query as it was sent, without the question mark.
    Query,
    /// `{request_id}`
    RequestId,
    /// `{listener}`: the listener's name.
    Listener,
    /// `{route}`: the route's name.
    Route,
    /// `{header.NAME}`: the first field line of that name; empty if there is none.
    Header(String),
    /// `{cookie.NAME}`
    Cookie(String),
    /// `{query.NAME}`: the first parameter of that name, decoded.
    Parameter(String),
    /// `{NAME}`: what the route's path captured.
    Capture(String),
}

impl Template {
    /// Reads the template of a message's content, which may have tabs and line ends in it.
    ///
    /// # Errors
    /// Those of its `FromStr`, with other control characters only.
    pub fn for_content(text: &str) -> Result<Template, String> {
        Template::read(text, |c| c.is_control() && !matches!(c, '\t' | '\r' | '\n'))
    }

    fn read(text: &str, is_refused: impl Fn(char) -> bool) -> Result<Template, String> {
        let mut template = Template::default();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            // People count characters, from 1.
            let at = text[..text.len() - rest.len()].chars().count() + 1;
            let taken = match (first, rest.as_bytes().get(1)) {
                ('{', Some(b'{')) | ('}', Some(b'}')) => {
                    template.push_text(&rest[..1]);
                    2
                }
                ('{', _) => {
                    let end = rest[1..].find(['{', '}']).map_or(rest.len(), |end| end + 1);
                    if rest.as_bytes().get(end) != Some(&b'}') {
                        return Err(format!(
                            "the brace at character {at} is not closed; one that is meant as such is written {{{{"
                        ));
                    }
                    let variable = Variable::read(&rest[1..end])
                        .map_err(|what| format!("{} at character {at} {what}", &rest[..=end]))?;
                    template.parts.push(Part::Variable(variable));
                    end + 1
                }
                ('}', _) => {
                    return Err(format!(
                        "the brace at character {at} closes nothing; one that is meant as such is written }}}}"
                    ));
                }
                (control, _) if is_refused(control) => {
                    return Err(format!("has a control character ({control:?}) at character {at}"));
                }
                _ => {
                    let end = rest.find(|c| matches!(c, '{' | '}') || is_refused(c)).unwrap_or(rest.len());
                    template.push_text(&rest[..end]);
                    end
                }
            };
            rest = &rest[taken..];
        }
        Ok(template)
    }

    fn push_text(&mut self, text: &str) {
        match self.parts.last_mut() {
            _ if text.is_empty() => {}
            Some(Part::Text(last)) => last.push_str(text),
            _ => self.parts.push(Part::Text(text.to_owned())),
        }
    }

    /// Its parts.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The names of captures that it needs.
    pub fn captures(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Variable(Variable::Capture(name)) => Some(name.as_str()),
            _ => None,
        })
    }

    /// The text, if it has no variables.
    pub fn literal(&self) -> Option<&str> {
        match &*self.parts {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }
}

impl FromStr for Template {
    type Err = String;

    /// Reads a template of one line.
    ///
    /// # Errors
    /// What is wrong, and at which character, from 1: a brace that nothing closes or opens, a variable that has
    /// no name or one that can be nothing's, a control character. Whether a capture of that name exists is for
    /// the caller to say: see [`Template::captures`].
    fn from_str(text: &str) -> Result<Template, String> {
        Template::read(text, char::is_control)
    }
}

#[cfg(test)]
impl Template {
    /// The template of these parts, which hold what [`Part`] says.
    pub(crate) fn from_parts(parts: impl IntoIterator<Item = Part>) -> Template {
        let mut template = Template::default();
        for part in parts {
            match part {
                Part::Text(text) => template.push_text(&text),
                Part::Variable(_) => template.parts.push(part),
            }
        }
        template
    }
}

/// Variables that go by a word alone.
const WORDS: [(&str, Variable); 10] = [
    ("client_ip", Variable::ClientIp),
    ("scheme", Variable::Scheme),
    ("host", Variable::Host),
    ("port", Variable::Port),
    ("method", Variable::Method),
    ("path", Variable::Path),
    ("query", Variable::Query),
    ("request_id", Variable::RequestId),
    ("listener", Variable::Listener),
    ("route", Variable::Route),
];

impl Variable {
    /// Reads what stands between braces; it has none itself.
    fn read(text: &str) -> Result<Variable, String> {
        if let Some((_, variable)) = WORDS.iter().find(|(word, _)| *word == text) {
            return Ok(variable.clone());
        }
        match text.split_once('.') {
            Some((kind @ ("header" | "cookie"), name)) if !is_token(name.as_bytes()) => Err(format!(
                "names no {}: {name:?} is no token",
                if kind == "header" { "field" } else { kind }
            )),
            Some(("header", name)) => Ok(Variable::Header(name.to_owned())),
            Some(("cookie", name)) => Ok(Variable::Cookie(name.to_owned())),
            Some(("query", name)) if name.is_empty() || name.contains(char::is_control) => {
                Err(format!("names no parameter: {name:?}"))
            }
            Some(("query", name)) => Ok(Variable::Parameter(name.to_owned())),
            Some((kind, _)) => Err(format!("is no variable: {kind:?} is none of header, cookie, query")),
            None if text.is_empty() => Err("has no name".to_owned()),
            None if Variable::is_capture_name(text) => Ok(Variable::Capture(text.to_owned())),
            None => Err("is no variable: a name has letters, digits, - and _ only".to_owned()),
        }
    }

    /// Whether a capture can go by this name in a template: letters, digits, `-` and `_` of ASCII. A name that
    /// is the word of another variable, such as `host`, is read as that.
    pub fn is_capture_name(name: &str) -> bool {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    }

    /// Whether a name is the word of a variable, so that no template can ask for a capture that has it.
    pub fn is_word(name: &str) -> bool {
        WORDS.iter().any(|(word, _)| *word == name)
    }
}

/// As it is written between braces.
impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Variable::Header(name) => write!(f, "header.{name}"),
            Variable::Cookie(name) => write!(f, "cookie.{name}"),
            Variable::Parameter(name) => write!(f, "query.{name}"),
            Variable::Capture(name) => f.write_str(name),
            word => {
                let (word, _) = WORDS.iter().find(|(_, known)| known == word).ok_or(fmt::Error)?;
                f.write_str(word)
            }
        }
    }
}

/// In the form that reads back as the same template.
impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.parts {
            match part {
                Part::Text(text) => f.write_str(&text.replace('{', "{{").replace('}', "}}"))?,
                Part::Variable(variable) => write!(f, "{{{variable}}}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "template_tests.rs"]
mod tests;
