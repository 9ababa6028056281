//! URI templates (RFC 6570) as patterns of their expansions. A variable may be undefined.

use super::matcher::{Class, Matcher, MatcherSteps};

/// The longest prefix of a variable: `{name:100}`.
const PREFIX_MAX: usize = 100;

/// What an operator does (RFC 6570 appendix A).
struct Operator {
    first: &'static str,
    separator: &'static str,
    is_named: bool,
    /// What follows the name of an empty value.
    if_empty: &'static str,
    value: Class,
}

impl Operator {
    fn of(first: char) -> Option<Self> {
        let of = |first, separator, value| Self {
            first,
            separator,
            is_named: false,
            if_empty: "",
            value,
        };
        let named = |first, separator, if_empty| Self {
            first,
            separator,
            is_named: true,
            if_empty,
            value: Class::Value,
        };
        Some(match first {
            '+' => of("", ",", Class::Any),
            '#' => of("#", ",", Class::Any),
            '.' => of(".", ".", Class::Value),
            '/' => of("/", "/", Class::Value),
            ';' => named(";", ";", ""),
            '?' => named("?", "&", "="),
            '&' => named("&", "&", "="),
            _ => return None,
        })
    }

    const SIMPLE: Self =
        Self { first: "", separator: ",", is_named: false, if_empty: "", value: Class::Value };
}

struct Variable<'a> {
    name: &'a str,
    is_exploded: bool,
    /// Most characters of its value.
    prefix: Option<usize>,
}

/// The pattern of a template's expansions. None: the text is not a template, or has too many steps.
pub fn matcher(template: &str) -> Option<Matcher> {
    let mut steps = MatcherSteps::default();
    let mut rest = template;
    while let Some((literal, behind)) = rest.split_once('{') {
        if literal.contains('}') || steps.is_too_long() {
            return None;
        }
        steps.literal(literal);
        let (expression, behind) = behind.split_once('}')?;
        add_expression(&mut steps, expression)?;
        rest = behind;
    }
    if rest.contains('}') {
        return None;
    }
    steps.literal(rest);
    steps.finish().ok()
}

fn add_expression(steps: &mut MatcherSteps, expression: &str) -> Option<()> {
    let (operator, list) = match expression.chars().next().and_then(Operator::of) {
        Some(operator) => (operator, &expression[1..]),
        None => (Operator::SIMPLE, expression),
    };
    let variables = list.split(',').map(variable).collect::<Option<Vec<_>>>()?;
    // Two chains over the variables: as long as none is defined, and after the first that is. From each variable of the
    // first chain, a jump leads to the next one of the second.
    let mut crossings = Vec::with_capacity(variables.len());
    for variable in &variables {
        let skipped = steps.fork();
        steps.literal(operator.first);
        add_value(steps, &operator, variable);
        crossings.push(steps.jump());
        steps.close(skipped);
    }
    let none = steps.jump();
    let mut crossings = crossings.into_iter();
    // Behind the first variable, the second chain begins with the second one.
    for variable in variables.iter().skip(1) {
        crossings.next().into_iter().for_each(|open| steps.close(open));
        let skipped = steps.fork();
        steps.literal(operator.separator);
        add_value(steps, &operator, variable);
        steps.close(skipped);
        if steps.is_too_long() {
            return None;
        }
    }
    crossings.for_each(|open| steps.close(open));
    steps.close(none);
    Some(())
}

fn add_value(steps: &mut MatcherSteps, operator: &Operator, variable: &Variable<'_>) {
    if variable.is_exploded {
        let separator = operator.separator.as_bytes().first().copied().unwrap_or(b',');
        let class = match operator.value {
            Class::Any => Class::Any,
            _ => Class::Exploded(separator),
        };
        return steps.any(class);
    }
    if !operator.is_named {
        return add_text(steps, operator.value, variable.prefix);
    }
    steps.literal(variable.name);
    match operator.if_empty {
        "" => {
            let empty = steps.fork();
            steps.literal("=");
            add_text(steps, operator.value, variable.prefix);
            steps.close(empty);
        }
        equals => {
            steps.literal(equals);
            add_text(steps, operator.value, variable.prefix);
        }
    }
}

fn add_text(steps: &mut MatcherSteps, class: Class, prefix: Option<usize>) {
    let Some(prefix) = prefix else { return steps.any(class) };
    let ends: Vec<_> = (0..prefix)
        .map(|_| {
            let end = steps.fork();
            steps.one(class);
            end
        })
        .collect();
    ends.into_iter().for_each(|end| steps.close(end));
}

fn variable(text: &str) -> Option<Variable<'_>> {
    let (name, is_exploded, prefix) = match (text.strip_suffix('*'), text.split_once(':')) {
        (Some(name), _) => (name, true, None),
        (None, Some((name, digits))) => {
            let length = digits.parse().ok().filter(|length| (1..=PREFIX_MAX).contains(length))?;
            (name, false, Some(length))
        }
        (None, None) => (text, false, None),
    };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'%');
    let is_name = !name.is_empty() && name.bytes().all(is_plain);
    is_name.then_some(Variable { name, is_exploded, prefix })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(template: &str, text: &str) -> bool {
        matcher(template).unwrap().matches(text)
    }

    #[test]
    fn a_uri_template_matches_its_expansions_and_nothing_else() {
        for (template, text) in [
            ("https://a.test/books/{id}", "https://a.test/books/1"),
            ("https://a.test/books/{id}", "https://a.test/books/"),
            ("https://a.test/books/{id}.jsonld", "https://a.test/books/a%2Fb.jsonld"),
            ("https://a.test/{+path}", "https://a.test/a/b?c#d"),
            ("https://a.test/{#part}", "https://a.test/#a/b"),
            (
                "https://a.test/users/foo/{?topic}",
                "https://a.test/users/foo/?topic=https%3A%2F%2Fa.test%2F1",
            ),
            ("/s{/topic}{/subscriber}", "/s/https%3A%2F%2Fa/urn%3Auuid%3A1"),
            ("/s{/topic}{/subscriber}", "/s"),
            ("/s{?a,b,c}", "/s?a=1&c="),
            ("/s{?a,b,c}", "/s?b=1"),
            ("/s{?a,b,c}", "/s"),
            ("/s{&a,b}", "/s&b=2"),
            ("/s{;a,b}", "/s;a;b=2"),
            ("/s{.a,b}", "/s.x.y"),
            ("/s{/list*}", "/s/a/b/c"),
            ("/s{?list*}", "/s?a=1&b=2"),
            ("{a,b}", "1,2"),
            ("{id:3}", "abc"),
            ("/é/{id}", "/é/ü"),
            ("plain", "plain"),
        ] {
            assert!(matches(template, text), "{template} {text}");
        }
        for (template, text) in [
            ("https://a.test/books/{id}", "https://a.test/books/1/2"),
            ("https://a.test/books/{id}", "https://a.test/books/1?x"),
            ("https://a.test/books/{id}", "https://b.test/books/1"),
            ("/s{?a,b}", "/s?b=1&a=2"),
            ("/s{?a,b}", "/s?a=1&b=2&c=3"),
            ("/s{?a}", "/s?a"),
            ("{id:3}", "abcd"),
            ("/s{/a}", "/s/1/2"),
            ("plain", "plainly"),
        ] {
            assert!(!matches(template, text), "{template} {text}");
        }
    }

    #[test]
    fn a_text_that_is_no_uri_template_has_no_pattern() {
        for text in
            ["{", "}", "a}b{c}", "{}", "{a", "{a b}", "{=a}", "{a:0}", "{a:10000}", "{a,}", "{{a}}"]
        {
            assert_eq!(matcher(text), None, "{text}");
        }
        assert_eq!(matcher(&"{+a}".repeat(1000)), None);
        let many = format!("{{?{}}}", vec!["a"; 2000].join(","));
        assert_eq!(matcher(&many), None);
    }
}
