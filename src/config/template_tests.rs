use super::*;
use proptest::prelude::*;

fn text(text: &str) -> Part {
    Part::Text(text.to_owned())
}

fn parts(template: &str) -> Vec<Part> {
    template.parse::<Template>().unwrap().parts().to_vec()
}

#[test]
fn reads_texts_and_every_variable() {
    use Variable::*;
    assert_eq!(parts(""), []);
    assert_eq!(parts("plain \u{e9}"), [text("plain \u{e9}")]);
    for (written, want) in [
        ("{client_ip}", ClientIp),
        ("{scheme}", Scheme),
        ("{host}", Host),
        ("{port}", Port),
        ("{method}", Method),
        ("{path}", Path),
        ("{query}", Query),
        ("{request_id}", RequestId),
        ("{listener}", Listener),
        ("{route}", Route),
        ("{header.X-A_b}", Header("X-A_b".to_owned())),
        ("{cookie.sid}", Cookie("sid".to_owned())),
        ("{query.a b.c}", Parameter("a b.c".to_owned())),
        ("{id}", Capture("id".to_owned())),
        ("{header}", Capture("header".to_owned())),
    ] {
        assert_eq!(parts(written), [Part::Variable(want)], "{written}");
    }
    let host = Part::Variable(Host);
    assert_eq!(parts("https://{host}/{host}"), [text("https://"), host.clone(), text("/"), host]);
}

#[test]
fn braces_that_are_written_twice_are_braces() {
    let id = Part::Variable(Variable::Capture("id".to_owned()));
    assert_eq!(parts("{{id}}"), [text("{id}")]);
    assert_eq!(parts("a{{}}b"), [text("a{}b")]);
    assert_eq!(parts("{{{id}}}"), [text("{"), id.clone(), text("}")]);
    assert_eq!(parts("{id}}}{{"), [id, text("}{")]);
}

#[test]
fn says_what_is_wrong_and_where() {
    for (template, want) in [
        ("{", "the brace at character 1 is not closed; one that is meant as such is written {{"),
        (
            "\u{e9}\u{e9}{host",
            "the brace at character 3 is not closed; one that is meant as such is written {{",
        ),
        ("{ho{st}", "the brace at character 1 is not closed; one that is meant as such is written {{"),
        ("a}", "the brace at character 2 closes nothing; one that is meant as such is written }}"),
        ("{host}}", "the brace at character 7 closes nothing; one that is meant as such is written }}"),
        ("a{}", "{} at character 2 has no name"),
        ("{header.}", "{header.} at character 1 names no field: \"\" is no token"),
        ("{header.X Y}", "{header.X Y} at character 1 names no field: \"X Y\" is no token"),
        ("{cookie.a;b}", "{cookie.a;b} at character 1 names no cookie: \"a;b\" is no token"),
        ("{query.}", "{query.} at character 1 names no parameter: \"\""),
        ("{query.a\n}", "{query.a\n} at character 1 names no parameter: \"a\\n\""),
        ("{env.HOME}", "{env.HOME} at character 1 is no variable: \"env\" is none of header, cookie, query"),
        ("{a b}", "{a b} at character 1 is no variable: a name has letters, digits, - and _ only"),
        ("{\u{e9}}", "{\u{e9}} at character 1 is no variable: a name has letters, digits, - and _ only"),
        ("x\r\ny", "has a control character ('\\r') at character 2"),
        ("{{\0", "has a control character ('\\0') at character 3"),
        ("\u{85}", "has a control character ('\\u{85}') at character 1"),
    ] {
        assert_eq!(template.parse::<Template>(), Err(want.to_owned()), "{template:?}");
    }
}

#[test]
fn content_may_have_lines() {
    let content = Template::for_content("a\r\n\t{host}\n").unwrap();
    assert_eq!(content.parts().len(), 3);
    assert!(Template::for_content("a\0").is_err() && Template::for_content("\u{1b}[0m").is_err());
    assert!("a\n".parse::<Template>().is_err());
}

#[test]
fn says_which_captures_it_needs_and_whether_it_needs_any() {
    let template: Template = "{id}{host}{name}".parse().unwrap();
    assert_eq!(template.captures().collect::<Vec<_>>(), ["id", "name"]);
    assert_eq!(template.literal(), None);
    assert_eq!("a{{".parse::<Template>().unwrap().literal(), Some("a{"));
}

#[test]
fn knows_which_names_a_capture_can_have() {
    assert!(Variable::is_capture_name("user-id_2") && !Variable::is_capture_name("a.b"));
    assert!(!Variable::is_capture_name("") && Variable::is_word("host") && !Variable::is_word("id"));
}

/// A part of a template.
fn part() -> impl Strategy<Value = Part> {
    let variable = prop_oneof![
        proptest::sample::select(&WORDS[..]).prop_map(|(_, variable)| variable),
        "[A-Za-z!*_|~-]{1,4}".prop_map(Variable::Header),
        "[a-z.{}]{1,4}".prop_filter_map("a token", |name| {
            is_token(name.as_bytes()).then_some(Variable::Cookie(name))
        }),
        "[^{}\\pC]{1,4}".prop_map(Variable::Parameter),
        "[a-z0-9_-]{1,12}".prop_filter_map("a word", |name| {
            (!Variable::is_word(&name)).then_some(Variable::Capture(name))
        }),
    ];
    prop_oneof![
        "[^\\pC]{0,6}".prop_map(Part::Text),
        "[{}]{0,4}".prop_map(Part::Text),
        variable.prop_map(Part::Variable)
    ]
}

proptest! {
    #[test]
    fn what_is_displayed_reads_back(parts in proptest::collection::vec(part(), 0..8)) {
        let template = Template::from_parts(parts);
        prop_assert_eq!(template.to_string().parse::<Template>(), Ok(template.clone()));
        prop_assert_eq!(Template::for_content(&template.to_string()), Ok(template));
    }

    #[test]
    fn what_reads_is_displayed_as_it_was(text in "[{}ab.\\n\u{e9}]{0,16}|[{}a-z.]{0,16}|\\PC{0,12}") {
        if let Ok(template) = text.parse::<Template>() {
            prop_assert_eq!(template.to_string(), text);
        } else {
            // Doubling every brace leaves nothing that could be wrong but a control character.
            let doubled = text.replace('{', "{{").replace('}', "}}");
            prop_assert_eq!(doubled.parse::<Template>().is_err(), text.contains(char::is_control));
        }
    }
}
