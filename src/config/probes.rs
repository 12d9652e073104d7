//! The set of rules that comes with the proxy: what stops the common probes, and nothing that people say.
//!
//! Each rule has examples of what it stops and of what it must let through, in `filter/rules/probes.txt`, which are run
//! through the engine as tests. A rule that stops what an application needs is left out by its id.

use super::matching::Condition;
use super::rules::{METHODS_DEFAULT, Probes, Rule, RuleAction, Search, Subject, When};

/// A rule of the set.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    /// What it is called.
    pub id: &'static str,
    /// What it stops.
    pub title: &'static str,
    /// Where it looks, in the words of `in`; nowhere for the one that asks for the method.
    within: &'static [&'static str],
    /// What has to be found first: it costs less than the rest.
    first: &'static str,
    contains: &'static [&'static str],
    regex: &'static [&'static str],
    sqli: bool,
    xss: bool,
    status: u16,
}

const PLAIN: Probe = Probe {
    id: "",
    title: "",
    within: &[],
    first: "",
    contains: &[],
    regex: &[],
    sqli: false,
    xss: false,
    status: 403,
};

/// All of them, in the order in which they count.
pub const ALL: &[Probe] = &[
    Probe { id: METHOD, title: "methods that are not listed", status: 405, ..PLAIN },
    Probe {
        id: "null-byte",
        title: "NUL in a path, a parameter or a form, escaped in whichever way",
        within: &["path", "query", "form"],
        contains: &["\0"],
        status: 400,
        ..PLAIN
    },
    Probe {
        id: "path-traversal",
        title: "segments of the path that lead upwards",
        within: &["path"],
        regex: &[r"(?:^|[/\\])\.\.;?(?:[/\\;?#]|$)"],
        ..PLAIN
    },
    Probe {
        id: "file-traversal",
        title: "parameters and form fields that lead upwards to files of the system",
        within: &["query", "form"],
        regex: &[
            r"\.\.;?[/\\]+(?:\.;?[/\\]+)*\.\.;?[/\\]",
            r"\.\.[/\\]+(?:etc|var|proc|windows|winnt|boot\.ini|web-inf|\.(?:env|git|ssh|aws|ht))\b",
            r"(?:^|file:/{0,3}|=)[/\\]*(?:etc[/\\](?:passwd|shadow|group|hosts)|proc[/\\]self[/\\]|(?:c:[/\\])?win(?:dows|nt)[/\\](?:win\.ini|system32|repair))",
        ],
        ..PLAIN
    },
    Probe {
        id: "dot-file",
        title: "files and folders whose name begins with a dot, other than /.well-known",
        within: &["path"],
        regex: &[
            r"/\.(?:[a-vx-z0-9_]|w(?:[a-df-z0-9_.-]|e(?:[a-km-z0-9_.-]|l(?:[a-km-z0-9_.-]|l(?:[a-z0-9_.]|-[a-jl-z])))))",
        ],
        ..PLAIN
    },
    Probe {
        id: "sqli",
        title: "SQL injection in parameters and form fields",
        within: &["query", "form"],
        sqli: true,
        ..PLAIN
    },
    Probe {
        id: "xss",
        title: "scripts and active markup in parameters and form fields",
        within: &["query", "form"],
        xss: true,
        ..PLAIN
    },
    Probe {
        id: "path-script",
        title: "scripts in the path",
        within: &["path"],
        regex: &[r"<\s*(?:script|svg|img|iframe|body|object|embed)\b[^>]*(?:>|\bon[a-z]+\s*=|src\s*=)"],
        ..PLAIN
    },
    Probe {
        id: "command-injection",
        first: r"[;|&`\n($/]|powershell",
        title: "commands for a shell behind a separator",
        within: &["query", "form"],
        regex: &[
            r"[;|&`\n]\s*(?:/(?:usr/)?s?bin/)?(?:cat|head|tail|tac|nl)\s+[-/.~$*]",
            r"[;|&]\s*(?:/(?:usr/)?s?bin/)?(?:id|whoami|uname(?:\s+-a)?|ifconfig|ipconfig|netstat|printenv|ls(?:\s+-[a-z]+)?(?:\s+[/.~]\S*)?)\s*(?:[;|&`#)]|$)",
            r"[;|&`\n(]\s*(?:wget|curl)\s+(?:-\S+\s+)*['\x22]?(?:https?|ftp)://",
            r"[;|&]\s*(?:sleep\s+\d+|ping\s+-[nc]\s+\d+|nslookup\s+\S+\.|n(?:c|cat)\s+-|(?:ba|da|z)?sh\s+-[ci]|python\d?\s+-c|perl\s+-e|php\s+-r|rm\s+-r|chmod\s+[+0-7])",
            r"\$\(\s*(?:/(?:usr/)?s?bin/)?(?:cat|id|whoami|uname|wget|curl|ls|sleep|nslookup|ping|(?:ba)?sh)\b[^)]*\)",
            r"^\s*[^\s`]{0,16}`\s*(?:whoami|uname|ifconfig|nslookup|ping|sleep|cat|id|ls)\b[^`]*`\s*$",
            r"(?:^|[;|&=\s(])/bin/(?:ba|da|z|c)?sh\s+-[ci]",
            r"\bcmd(?:\.exe)?\s*/c\s+\S|\bpowershell(?:\.exe)?\s+-(?:e|enc|c|nop|w|ep)\b",
            r"/dev/(?:tcp|udp)/",
            r"\$\{ifs\}|\$ifs\$",
        ],
        ..PLAIN
    },
    Probe {
        id: "scanner",
        title: "tools that look for holes, as far as they say who they are",
        within: &["user-agent"],
        contains: &[
            "sqlmap",
            "nikto",
            "nmap scripting",
            "masscan",
            "zgrab",
            "dirbuster",
            "gobuster",
            "feroxbuster",
            "wpscan",
            "nuclei",
            "acunetix",
            "netsparker",
            "nessus",
            "openvas",
            "w3af",
            "havij",
            "jorgee",
            "zmeu",
            "morfeus",
            "fuzz faster u fool",
            "arachni",
            "whatweb",
            "joomscan",
            "commix",
            "sqlninja",
            "dirsearch",
            "qualys was",
            "xsstrike",
            "wfuzz",
        ],
        ..PLAIN
    },
    Probe {
        id: "log4shell",
        title: "look-ups that a logger of Java would carry out",
        within: &["path", "query", "header", "form"],
        regex: &[
            r"\$\{\s*j\s*n\s*d\s*i\s*:",
            r"\$\{[^}]{0,40}\$\{(?:lower|upper|env|sys|date|java|ctx|main|base64|:)",
            r"\$\{(?:lower|upper|env|sys|date|base64|::?)[^}]{0,40}\}[^$]{0,8}\$\{",
        ],
        ..PLAIN
    },
    Probe {
        id: "line-injection",
        title: "parameters that would add fields to a response",
        within: &["path", "query"],
        regex: &[r"[\r\n]\s*(?:set-cookie\s*:|location\s*:|content-(?:type|length)\s*:|http/1\.[01]\s)"],
        ..PLAIN
    },
    Probe {
        id: "php-probe",
        title: "holes of PHP and of what is written in it",
        within: &["path", "query"],
        contains: &[
            "eval-stdin.php",
            "/vendor/phpunit/",
            "allow_url_include",
            "auto_prepend_file",
            "invokefunction&function",
            "/phpinfo.php",
            "_profiler/phpinfo",
            "<?php",
            "php://input",
            "php://filter",
            "expect://",
        ],
        regex: &[r"^(?:phar|zip|data|glob)://", r"^data:text/plain;base64,PD9"],
        ..PLAIN
    },
    Probe {
        id: "asp-probe",
        title: "holes of ASP and of the servers that run it",
        within: &["path", "query"],
        contains: &["/trace.axd", "/elmah.axd", "/_vti_bin/", "::$data", "/global.asax", "/web.config"],
        regex: &[r"\bxp_cmdshell\b", r"<%\s*(?:eval|execute|response\.write)\b"],
        ..PLAIN
    },
];

/// The rule that asks for the method.
/// The id of the rule that asks for the method.
pub const METHOD: &str = "method";

/// The ids of all rules.
pub fn ids() -> impl Iterator<Item = &'static str> + Clone {
    ALL.iter().map(|probe| probe.id)
}

/// The rules that are left in.
pub fn rules(settings: &Probes) -> Vec<Rule> {
    let left = ALL.iter().filter(|probe| !settings.except.iter().any(|id| id == probe.id));
    left.map(|probe| probe.rule(&settings.methods)).collect()
}

impl Probe {
    fn subjects(&self) -> Vec<Subject> {
        self.within.iter().filter_map(|word| word.parse().ok()).collect()
    }

    fn rule(&self, methods: &[String]) -> Rule {
        let when = if self.id == METHOD {
            let listed = match methods {
                [] => METHODS_DEFAULT.iter().map(|&method| method.to_owned()).collect(),
                some => some.to_vec(),
            };
            When::Not(Box::new(When::Is(Condition::Method(listed))))
        } else {
            // What does not read is found by the test that reads all of them.
            When::Finds(Search {
                within: self.subjects(),
                contains: self.contains.iter().map(|&text| text.to_owned()).collect(),
                regex: self.regex.iter().filter_map(|source| source.parse().ok()).collect(),
                sqli: self.sqli,
                xss: self.xss,
            })
        };
        let first = self.first.parse().ok().filter(|_| !self.first.is_empty());
        let first = first.map(|first| {
            When::Finds(Search { within: self.subjects(), regex: vec![first], ..Search::default() })
        });
        let when = first.into_iter().chain([when]).collect();
        Rule { id: self.id.to_owned(), when, action: RuleAction::Deny(self.status) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_the_set_reads_and_has_names_of_its_own() {
        let rules = rules(&Probes::default());
        for (probe, rule) in ALL.iter().zip(&rules) {
            let Some(When::Finds(search)) = rule.when.last() else { continue };
            assert_eq!(rule.when.len(), 1 + usize::from(!probe.first.is_empty()), "{}", probe.id);
            assert_eq!(search.within.len(), probe.within.len(), "{}", probe.id);
            assert_eq!(search.regex.len(), probe.regex.len(), "{}", probe.id);
            assert!(!probe.title.is_empty());
        }
        let names: std::collections::BTreeSet<_> = ids().collect();
        assert_eq!(names.len(), ALL.len());
    }
}
