//! Request methods (RFC 9110, section 9).

/// A method, as far as the proxy treats it in its own way; any other token is passed on as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// GET
    Get,
    /// HEAD: answered without content.
    Head,
    /// POST
    Post,
    /// PUT
    Put,
    /// DELETE
    Delete,
    /// OPTIONS
    Options,
    /// TRACE
    Trace,
    /// CONNECT
    Connect,
    /// PATCH
    Patch,
    /// Any other token.
    Other,
}

impl Method {
    /// The method that a token names. Methods are case-sensitive.
    pub fn from_token(token: &[u8]) -> Method {
        match token {
            b"GET" => Method::Get,
            b"HEAD" => Method::Head,
            b"POST" => Method::Post,
            b"PUT" => Method::Put,
            b"DELETE" => Method::Delete,
            b"OPTIONS" => Method::Options,
            b"TRACE" => Method::Trace,
            b"CONNECT" => Method::Connect,
            b"PATCH" => Method::Patch,
            _ => Method::Other,
        }
    }

    /// Whether the request asks for nothing but information (RFC 9110, section 9.2.1). A method that is not
    /// known is taken not to be safe.
    pub const fn is_safe(self) -> bool {
        matches!(self, Method::Get | Method::Head | Method::Options | Method::Trace)
    }

    /// Whether sending the request twice has the effect of sending it once (RFC 9110, section 9.2.2).
    /// A method that is not known is taken not to be idempotent.
    pub const fn is_idempotent(self) -> bool {
        matches!(
            self,
            Method::Get | Method::Head | Method::Put | Method::Delete | Method::Options | Method::Trace
        )
    }
}

/// Whether a list of methods means one. Methods are case-sensitive (RFC 9110, section 9.1), and GET stands for HEAD
/// too: HEAD is GET without the content of the answer (section 9.3.2), and nobody means to let the one through and not the
/// other, nor to stop it.
pub fn lists(listed: &[String], method: &[u8]) -> bool {
    listed.iter().any(|known| known.as_bytes() == method || known == "GET" && method == b"HEAD")
}

/// All methods that such a list means, each once where it is listed once.
pub fn all_meant(listed: &[String]) -> Vec<String> {
    let head =
        Some("HEAD".to_owned()).filter(|head| lists(listed, head.as_bytes()) && !listed.contains(head));
    listed
        .iter()
        .flat_map(|name| [Some(name.clone()), head.clone().filter(|_| name == "GET")])
        .flatten()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn get_stands_for_head_and_nothing_else_does() {
        let list = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let listed = |names: &[&str], method: &str| lists(&list(names), method.as_bytes());
        assert!(listed(&["POST", "GET"], "GET") && listed(&["POST", "GET"], "HEAD"));
        assert!(listed(&["HEAD"], "HEAD") && !listed(&["HEAD"], "GET"));
        assert!(!listed(&["GET"], "POST") && !listed(&["get"], "HEAD") && !listed(&["GET"], "head"));
        assert!(!listed(&[], "GET"));
        assert_eq!(all_meant(&list(&["PUT", "GET", "POST"])), ["PUT", "GET", "HEAD", "POST"]);
        assert_eq!(all_meant(&list(&["HEAD", "GET"])), ["HEAD", "GET"]);
        assert_eq!(all_meant(&list(&["PUT"])), ["PUT"]);
    }

    #[test]
    fn methods_are_case_sensitive() {
        assert_eq!(Method::from_token(b"GET"), Method::Get);
        assert_eq!(Method::from_token(b"get"), Method::Other);
        assert_eq!(Method::from_token(b"PURGE"), Method::Other);
    }

    #[test]
    fn post_patch_and_unknown_methods_are_not_idempotent() {
        for method in [Method::Post, Method::Patch, Method::Connect, Method::Other] {
            assert!(!method.is_idempotent());
        }
        assert!(Method::Put.is_idempotent() && Method::Delete.is_idempotent());
    }
}
