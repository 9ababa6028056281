//! The examples at the end of each `--help`. The tests parse each line that starts with two spaces and `tidegate` as a
//! command.

pub const TIDEGATE: &str = "\
Examples:
  tidegate                                # a node on 127.0.0.1:8080
  tidegate --config tidegate.toml         # a node with your own configuration
  tidegate check --config tidegate.toml   # effective settings, or faults
  tidegate publish --help                 # more about one command

Settings come from the defaults, --config FILE, the environment
(TIDEGATE__SECTION__KEY) and --set; later ones win.
Exit codes: 0 success, 2 configuration or usage, 1 anything else.";

pub const SERVE: &str = "\
Examples:
  tidegate serve --config tidegate.toml
  tidegate serve --set broker.url=redis://127.0.0.1:6379
  tidegate serve --set server.listen=localhost:8000
  tidegate serve --set server.listen=:8080 --set auth.mode=none  # open to all";

pub const CHECK: &str = "\
Examples:
  tidegate check --config tidegate.toml
  tidegate check --config tidegate.toml --set session.ping_interval=10s";

pub const EXPLAIN: &str = "\
Examples:
  tidegate explain --channel chat:1 --config tidegate.toml
  tidegate explain --channel chat:1 --token \"$T\" --config tidegate.toml
  tidegate explain --channel chat:1 --node http://127.0.0.1:9090";

pub const DOCTOR: &str = "\
Examples:
  tidegate doctor --config tidegate.toml
  tidegate doctor --json --config tidegate.toml";

pub const PUBLISH: &str = "\
Examples:
  tidegate publish news 'hello' --config tidegate.toml
  tidegate publish news '{\"any\":\"json\"}' --json --config tidegate.toml
  tidegate publish news - --config tidegate.toml < payload.bin
  tidegate publish news 'hello' --http http://127.0.0.1:9090";

pub const SUBSCRIBE: &str = "\
Examples:
  tidegate subscribe news --config tidegate.toml
  tidegate subscribe news sport --json --config tidegate.toml
  tidegate subscribe news --since 1763-41 --json --config tidegate.toml
  tidegate subscribe news --since first --config tidegate.toml";

pub const TOKEN: &str = "\
Examples:
  tidegate token --user ada --subscribe 'chat:*' --config tidegate.toml
  tidegate token --user ada --subscribe 'chat:*' --info '{\"name\":\"Ada\"}'
  tidegate token --user ada --ttl 15m --kid 2026-11 --config tidegate.toml";

pub const HEALTH: &str = "\
Examples:
  tidegate health
  tidegate health --ready --config tidegate.toml";

pub const DRAIN: &str = "\
Examples:
  tidegate drain --config tidegate.toml
  tidegate drain --percent 10 --config tidegate.toml";

pub const COMPLETION: &str = "\
Examples:
  tidegate completion bash > /etc/bash_completion.d/tidegate
  tidegate completion zsh > /usr/local/share/zsh/site-functions/_tidegate
  tidegate completion fish > ~/.config/fish/completions/tidegate.fish";

pub const MAN: &str = "\
Examples:
  tidegate man | man -l -
  tidegate man publish > /usr/local/share/man/man1/tidegate-publish.1";

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::cli::{Arguments, command};

    /// The words of a command line before its comment, pipe or redirection, split as a shell does.
    fn words(line: &str) -> Vec<String> {
        let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
        for character in line.chars().chain([' ']) {
            match quote {
                Some(mark) if character == mark => quote = None,
                None if matches!(character, '\'' | '"') => quote = Some(character),
                None if character == ' ' => words.push(std::mem::take(&mut word)),
                _ => word.push(character),
            }
        }
        assert_eq!(quote, None, "{line}");
        words.retain(|word| !word.is_empty());
        let end = words.iter().position(|word| matches!(word.as_str(), "#" | "|" | "<" | ">"));
        words.truncate(end.unwrap_or(words.len()));
        words
    }

    #[test]
    fn every_commands_help_ends_with_valid_examples_of_that_command() {
        let tidegate = command();
        let commands = tidegate.get_subcommands().filter(|it| it.get_name() != "help");
        for command in std::iter::once(&tidegate).chain(commands) {
            let name = command.get_name();
            let help = command.get_after_help().expect(name).to_string();
            let mut examples = 0;
            for line in help.lines().filter(|line| line.starts_with("  tidegate")) {
                // On an 80-column terminal each example stays one line that can be copied.
                assert!(line.len() <= 80, "{line}");
                let words = words(line);
                let is_of_it = name == "tidegate" || words[1] == name;
                assert!(is_of_it, "{line} is none of {name}");
                let parsed = Arguments::try_parse_from(words);
                let is_help = parsed.as_ref().err().is_some_and(|it| it.exit_code() == 0);
                assert!(is_help || parsed.is_ok(), "{line}: {}", parsed.err().unwrap());
                examples += 1;
            }
            assert!(examples > 0, "{name} has no examples");
        }
    }
}
