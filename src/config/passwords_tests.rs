use super::*;

const BCRYPT: &str = "$2y$05$L6Bc/AlTQHyd9liGgGEZyOFLPHNgyxeEPfgYfBCVxJ7JIlwxyVU3u";
const ARGON2: &str = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";

#[test]
fn users_are_read_with_comments_and_line_ends_of_any_kind() {
    let users = Users::read(&format!("# staff\r\n\r\nann:{BCRYPT}\r\nb c:{ARGON2} \n")).unwrap();
    assert_eq!(users.len(), 2);
    assert_eq!(users.find(b"ann").map(Entry::scheme), Some(Scheme::Bcrypt));
    assert_eq!(users.find(b"b c").map(Entry::hash), Some(ARGON2));
    assert!(users.find(b"ANN").is_none() && users.find(b"").is_none());
    assert_ne!(users.find(b"ann").unwrap().digest(), users.find(b"b c").unwrap().digest());
    assert!(users.any(7).is_some() && Users::default().any(7).is_none());
    assert_eq!(format!("{users:?}"), "Users(2)");
}

#[test]
fn weak_and_unknown_schemes_are_refused_with_what_to_use_instead() {
    for (hash, want) in [
        ("", "has no hash"),
        ("$apr1$8sFt66rZ$vQqNhRJQlSRxPXtAzUQdr1", "by MD5 are too weak; use bcrypt"),
        ("$1$8sFt66rZ$vQqNhRJQlSRxPXtAzUQdr1", "by MD5 are too weak; use bcrypt"),
        ("{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "by SHA-1 are too weak; use bcrypt"),
        ("rqXexS6ZhobKA", "by crypt are too weak; use bcrypt"),
        ("$6$a$b", "by SHA-crypt are too weak"),
        ("$2x$05$L6Bc/AlTQHyd9liGgGEZyOFLPHNgyxeEPfgYfBCVxJ7JIlwxyVU3u", "are too weak"),
        ("$7$a", "is not known; use bcrypt"),
        ("correct horse", "a password as it is would be too weak; use bcrypt"),
    ] {
        let said = Users::read(&format!("\nann:{hash}")).unwrap_err();
        assert!(said.starts_with("line 2: ") && said.contains(want), "{said}");
        assert!(hash.is_empty() || !said.contains(hash), "{said}");
    }
}

#[test]
fn what_would_keep_the_machine_busy_is_refused() {
    for cost in ["03", "15", "31", "99", "+5", "-5"] {
        let said = Users::read(&format!("ann:{}", BCRYPT.replace("$05$", &format!("${cost}$"))));
        assert!(said.is_err_and(|said| said.contains("cost") || said.contains("malformed")), "{cost}");
    }
    for costs in [
        "m=4294967295,t=1,p=1",
        "m=131073,t=1,p=1",
        "m=65536,t=17,p=1",
        "m=131072,t=9,p=1",
        "m=65536,t=2,p=17",
    ] {
        let said = Users::read(&format!("ann:{}", ARGON2.replace("m=65536,t=2,p=1", costs)));
        assert!(said.is_err_and(|said| said.contains("costs too much")), "{costs}");
    }
}

#[test]
fn malformed_lines_are_refused() {
    for line in [
        "ann",
        ":x",
        &format!(" ann:{BCRYPT}"),
        &format!("ann\u{a0}:{BCRYPT}"),
        &format!("a\u{1}:{BCRYPT}"),
        &format!("{}:{BCRYPT}", "a".repeat(256)),
        &format!("ann:{}", &BCRYPT[..59]),
        &format!("ann:{BCRYPT}:Ann"),
        &format!("ann:{}", BCRYPT.replace('L', "!")),
        "ann:$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ",
        "ann:$argon2id$v=19$m=65536,t=2,p=1",
        "ann:$argon2x$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
        "ann:$argon2id$v=7$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
        "ann:$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXP",
        &format!("ann:{BCRYPT}\nann:{ARGON2}"),
    ] {
        assert!(Users::read(line).is_err(), "{line}");
    }
}
