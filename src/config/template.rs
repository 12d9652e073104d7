//! Texts with variables in them: `https://{host}/new/{id}`.

/// A text with variables. A brace that is meant as such is written twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// This text; it has no control characters.
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
