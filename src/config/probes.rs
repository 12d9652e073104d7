//! The set of rules that comes with the proxy: what stops the common probes, and nothing that people say.
//!
//! Each rule has examples of what it stops and of what it must let through, in `filter/rules/probes.txt`, which are run
//! through the engine as tests. A rule that stops what an application needs is left out by its id.

use super::matching::{Condition, Test};
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
    contains: &'static [&'static str],
    regex: &'static [&'static str],
    sqli: bool,
    xss: bool,
    /// Whether only what a server reads that keeps to the standards counts.
    standard: bool,
    status: u16,
}

const PLAIN: Probe = Probe {
    id: "",
    title: "",
    within: &[],
    contains: &[],
    regex: &[],
    sqli: false,
    xss: false,
    standard: false,
    status: 403,
};

/// All of them, in the order in which they count.
pub const ALL: &[Probe] = &[
    Probe { id: METHOD, title: "methods that are not listed", status: 405, ..PLAIN },
    Probe {
        id: "null-byte",
        title: "NUL in a path, a parameter or a form",
        within: &["path", "query", "form"],
        contains: &["\0"],
        // Who writes `50%00` sends `50%2500`.
        standard: true,
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
        title: "parameters and form fields that are names of files of the system, or lead upwards",
        within: &["query", "form"],
        // All of a value is such a name: texts speak of them. What is still escaped is no name.
        regex: &[
            r"^[^\s+%'\x22<>(){}]*\.\.;?[/\\]+(?:\.;?[/\\]+)*\.\.;?[/\\]",
            r"^[^\s+%'\x22<>(){}]*\.\.;?[/\\]+(?:\.[/\\]+)*(?:(?:etc|var|proc|root|windows|winnt|web-inf)[/\\]|boot\.ini|\.(?:env|git|ssh|aws|ht))",
            r"^(?:file:|[^\s+%?&]*=)?[/\\]*(?:\.*[/\\]+)*etc[/\\]+(?:\.[/\\]+)*(?:passwd|g?shadow|group|sudoers)[^\s+%]*\s*$",
            r"^(?:file:|[^\s+%?&]*=)?[/\\]*(?:\.*[/\\]+)*proc[/\\]+(?:\.[/\\]+)*(?:self|\d+)[/\\]+(?:environ|cmdline|fd|maps|root|cwd|exe|mem|status)[^\s+%]*\s*$",
            r"^(?:file:|[^\s+%?&]*=)?[/\\]*(?:\.*[/\\]+)*(?:root|home[/\\]+[^\s/\\]+)[/\\]+\.(?:ssh|aws|bash|netrc|gnupg)[^\s+%]*\s*$",
            r"^(?:file:)?[/\\]*(?:[a-z]:)?[/\\]*win(?:dows|nt)[/\\]+(?:win\.ini|system\.ini|repair|system32[/\\]+(?:drivers|config))[^\s+%]*\s*$",
            r"^(?:file:)?[/\\]*[a-z]:[/\\]+boot\.ini[^\s+%]*\s*$",
            // The rest of the name is cut off.
            r"^[^\s+%'\x22<>(){}]*[^/\\]\.[a-z0-9]{1,5}\x00",
        ],
        ..PLAIN
    },
    Probe {
        id: "dot-file",
        title: "files and folders of tools that nobody means to publish",
        within: &["path"],
        // Names that are known: applications have paths of their own that begin with a dot.
        regex: &[
            r"/\.(?:git(?:config|ignore|modules|attributes|keep|-credentials|lab-ci\.ya?ml)?|svn|hg|bzr|cvs|ht(?:access|passwd|group|digest)|aws|ssh|ds_store|kube|npmrc|yarnrc|pypirc|netrc|pgpass|my\.cnf|docker(?:cfg|env|ignore)?|vscode|idea|config|gnupg|boto|s3cfg|terraform|travis\.yml|circleci|ftpconfig|sftp-config|remote-sync|composer|wgetrc|curlrc|bash_(?:history|profile|logout)|bashrc|zsh(?:rc|_history)|profile|(?:mysql|psql|sh|python)_history|history|viminfo|vimrc|subversion|rhosts|forward|credentials|secrets?)(?:[^a-z0-9_-]|$)",
            r"/\.(?:env(?:rc)?(?:[^a-z0-9]|$)|[^/]+\.sw[a-p](?:$|/))",
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
        title: "commands for a shell behind a separator",
        within: &["query", "form"],
        // What stands in front of the separator is one word, for which an application has asked; a number or nothing
        // where the separator is one that people write.
        regex: &[
            r"[;|`\n]\s*(?:/(?:usr/)?s?bin/)?(?:cat|head|tail|tac|nl|less|more|strings|cp)\s+(?:-[a-z]+\s+(?:\d+\s+)?)*['\x22]?/(?:etc|proc|root|var/(?:log|www))/",
            r"^(?:[^\s+%;|&`$()]*\s*(?:;|\|\|?|&&)|[\d.:]*(?:&|[\r\n]+))\s*(?:/(?:usr/)?s?bin/)?(?:cat|head|tail|tac|less|more|strings)\s*(?:\s(?:-[a-z]+\s+(?:\d+\s+)?)*['\x22]?(?:[/~$*]|\.\.?/|\w+\.\w)|<\s*[/.~])",
            r"^(?:[^\s+%;|&`$()]*\s*(?:;|\|\|?|&&)|[\d.:]*(?:&|[\r\n]+))\s*(?:/(?:usr/)?s?bin/)?(?:whoami|uname(?:\s+-a)?|ifconfig|ipconfig(?:\s*/all)?|netstat(?:\s+-[a-z]+)?|printenv|ls\s+-[a-z]+(?:\s+[/.~]\S*)?|ls\s+[/~]\S*|ps\s+-?(?:aux|ef)|(?:dir|type)\s+[a-z]:\S*)\s*(?:[;|&`#)<>]|$)",
            r"^[\d.:\s'\x22]*(?:[;|&]|[\r\n])+\s*(?:/(?:usr/)?s?bin/)?(?:id|env|ls|ps|pwd|set|dir|whoami)\s*(?:[;|&`#)<>]|$)",
            r"^(?:[^\s+%;|&`$()]*\s*(?:;|\|\|?|&&)|[\d.:]*(?:&|[\r\n]+))\s*(?:/(?:usr/)?s?bin/)?(?:wget|curl)\s+(?:-\S+\s+)*['\x22]?(?:(?:https?|ftp)://|[\w-]+(?:\.[\w-]+)*\.[a-z]{2,}(?:[/:;|&\s]|$)|\d+\.\d+\.)",
            r"^(?:[^\s+%;|&`$()]*\s*(?:;|\|\|?|&&)|[\d.:]*(?:&|[\r\n]+))\s*(?:/(?:usr/)?s?bin/)?(?:(?:sleep\s+\d+|ping\s+-[nc]\s+\d+)\b[^a-z]*(?:$|[;|&#]|\s[\w.-]+$)|nslookup\s+\S+\.|n(?:c|cat)\s+-|(?:ba|da|z)?sh\s+-[ci]|python\d?\s+-c|perl\s+-e|php\s+-r|rm\s+-r|chmod\s+[+0-7]|\{[a-z]+,[^}\s]+\})",
            r"^[^\s+%]*\$\(\s*(?:/(?:usr/)?s?bin/)?(?:(?:cat|ls|head|tail)\s+[-/.~*][^)]*|id|whoami|uname[^)]*|(?:wget|curl|sleep|nslookup|ping)\s[^)]*|(?:ba)?sh\s[^)]*)\)(?:[^.\w]|$)",
            r"^\s*[^\s`]{0,16}`\s*(?:whoami|uname|ifconfig|nslookup|ping|sleep|cat|id|ls)\b[^`]*`\s*$",
            r"^[^\s+%]*/bin/(?:ba|da|z|c)?sh\s+-[ci]\b",
            r"^(?:[^\s+%]*[;|&]\s*)?(?:cmd(?:\.exe)?\s*/c\s+(?:dir|type|whoami|net|ping|echo|start|powershell|copy|del|ipconfig|set|certutil|ver)\b|powershell(?:\.exe)?\s+-(?:e|enc|c|nop|w|ep)\b)",
            r"^cd\s+/(?:tmp|var/tmp|dev/shm)\s*;",
            r"/dev/(?:tcp|udp)/[\w.-]+/\d",
            r"^[^\s+%]*(?:\$\{ifs[%}]|\$ifs\$)",
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
            // A look-up within the name of another: shells and templates have none there.
            r"\$\{[a-z:]{0,5}\$\{[^}]*:-",
            r"\$\{[^}]*\$\{(?:lower|upper|env|sys|date|java|ctx|main|base64|:)?:",
        ],
        ..PLAIN
    },
    Probe {
        id: "line-injection",
        title: "parameters that would add fields to a response",
        within: &["path", "query"],
        regex: &[
            r"[\r\n]\s*(?:set-cookie\s*:|location\s*:\s*(?:https?:)?/|content-(?:type|length)\s*:|http/1\.[01]\s)",
        ],
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
            let unlisted = When::Not(Box::new(When::Is(Condition::Method(listed))));
            vec![unlisted, When::Not(Box::new(When::All(question())))]
        } else {
            // What does not read is found by the test that reads all of them.
            vec![When::Finds(Search {
                within: self.subjects(),
                contains: self.contains.iter().map(|&text| text.to_owned()).collect(),
                regex: self.regex.iter().filter_map(|source| source.parse().ok()).collect(),
                sqli: self.sqli,
                xss: self.xss,
                standard: self.standard,
            })]
        };
        Rule { id: self.id.to_owned(), when, action: RuleAction::Deny(self.status) }
    }
}

/// What a browser asks before a page's request. It asks with OPTIONS whatever methods an application has, and whoever
/// answers it, here or behind, wants to see the question (Fetch, section 4.8).
fn question() -> Vec<When> {
    let has = |name: &str| When::Is(Condition::Header(name.to_owned(), Test::Present));
    let method = When::Is(Condition::Method(vec!["OPTIONS".to_owned()]));
    vec![method, has("Origin"), has("Access-Control-Request-Method")]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_the_set_reads_and_has_names_of_its_own() {
        let rules = rules(&Probes::default());
        for (probe, rule) in ALL.iter().zip(&rules) {
            let Some(When::Finds(search)) = rule.when.last() else { continue };
            assert_eq!(search.within.len(), probe.within.len(), "{}", probe.id);
            assert_eq!(search.regex.len(), probe.regex.len(), "{}", probe.id);
            assert!(!probe.title.is_empty());
        }
        let names: std::collections::BTreeSet<_> = ids().collect();
        assert_eq!(names.len(), ALL.len());
    }
}
