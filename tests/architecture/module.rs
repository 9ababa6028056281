//! One module of `src/`, which is one file: what it defines, what it imports, and which paths it names.

use std::collections::BTreeSet;

use crate::tokens::{Token, nesting};

/// `crate::hub::Hub`, segment by segment.
pub type Path = Vec<String>;

#[derive(Default)]
pub struct Module {
    /// `hub::recovery`; empty for the crate.
    pub path: Path,
    /// Relative to `src/`.
    pub file: String,
    pub children: BTreeSet<String>,
    pub definitions: BTreeSet<String>,
    pub imports: Vec<Import>,
    /// Paths outside of imports that have more than one segment.
    pub paths: BTreeSet<Path>,
    pub impls: Vec<Impl>,
    /// The words outside of imports.
    words: BTreeSet<String>,
}

/// One name of a `use`.
pub struct Import {
    /// What the module calls it; `*` for a glob.
    pub name: String,
    pub path: Path,
    pub public: bool,
}

/// An `impl` block.
pub struct Impl {
    pub of: String,
    /// Empty for an implementation of a trait.
    pub methods: BTreeSet<String>,
    /// What is called as `self.name(…)` or `Self::name`.
    pub calls: BTreeSet<String>,
}

const DEFINING: &[&str] = &["fn", "struct", "enum", "trait", "type", "const", "static", "union"];

impl Module {
    pub fn read(path: Path, file: String, tokens: &[Token<'_>]) -> Self {
        let mut module = Self { path, file, ..Self::default() };
        let (mut at, mut depth) = (0, 0);
        while at < tokens.len() {
            depth += nesting(tokens[at].text);
            at += match tokens[at].text {
                // `use<…>` says what an `impl Trait` captures.
                "use" if tokens[at + 1].text != "<" => module.import(tokens, at),
                "mod" if depth == 0 => module.child(&tokens[at..]),
                "impl" if depth == 0 && begins_item(tokens, at) => {
                    module.implementation(&tokens[at..])
                }
                _ => module.word(tokens, at, depth),
            };
        }
        module
    }

    /// Whether the name stands outside of imports too.
    pub fn uses(&self, name: &str) -> bool {
        self.words.contains(name)
    }

    /// The methods that a type of this name has here.
    pub fn methods(&self, of: &str) -> BTreeSet<&String> {
        let blocks = self.impls.iter().filter(|block| block.of == of);
        blocks.flat_map(|block| &block.methods).collect()
    }

    fn import(&mut self, tokens: &[Token<'_>], at: usize) -> usize {
        let length = tokens[at..].iter().take_while(|token| token.text != ";").count();
        let public = at > 0 && ["pub", ")"].contains(&tokens[at - 1].text);
        let mut tree = &tokens[at + 1..at + length];
        self.import_tree(&mut tree, &[], public);
        length
    }

    /// Reads one branch of `a::{b, c as d, e::*}`, up to its comma or the end of its group.
    fn import_tree(&mut self, tree: &mut &[Token<'_>], before: &[String], public: bool) {
        let (mut path, mut name, mut is_group) = (before.to_vec(), None, false);
        while let [token, rest @ ..] = *tree {
            if token.text == "}" {
                break;
            }
            *tree = rest;
            match token.text {
                "," => break,
                "{" => {
                    is_group = true;
                    while tree[0].text != "}" {
                        self.import_tree(tree, &path, public);
                    }
                    *tree = &tree[1..];
                }
                "as" => {
                    name = Some(tree[0].text.to_owned());
                    *tree = &tree[1..];
                }
                // `::redis` is a crate, whatever the module has by that name.
                "::" if path.is_empty() => path.push(String::new()),
                "::" => {}
                "self" if !path.is_empty() => {}
                segment => path.push(segment.to_owned()),
            }
        }
        let last = path.last().cloned().filter(|_| !is_group);
        self.imports.extend(last.map(|last| Import { name: name.unwrap_or(last), path, public }));
    }

    fn child(&mut self, tokens: &[Token<'_>]) -> usize {
        assert_eq!(tokens[2].text, ";", "{}: a module beside its tests has a file", self.file);
        self.children.insert(tokens[1].text.to_owned());
        3
    }

    /// Notes the block, and leaves its body to be read like everything else.
    fn implementation(&mut self, tokens: &[Token<'_>]) -> usize {
        let head = tokens.iter().take_while(|token| token.text != "{").count();
        let (of, is_trait) = implemented(&tokens[1..head]);
        let (mut methods, mut calls, mut depth) = (BTreeSet::new(), BTreeSet::new(), 0);
        for (at, token) in tokens[head..].iter().enumerate() {
            let rest = &tokens[head + at..];
            depth += nesting(token.text);
            match rest {
                [] => break,
                [word, name, ..] if word.text == "fn" && depth == 1 && !is_trait => {
                    methods.insert(name.text.to_owned());
                }
                [this, joint, name, ..]
                    if [("self", "."), ("Self", "::")].contains(&(this.text, joint.text)) =>
                {
                    calls.insert(name.text.to_owned());
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
        self.impls.push(Impl { of, methods, calls });
        1
    }

    fn word(&mut self, tokens: &[Token<'_>], at: usize, depth: i32) -> usize {
        if !tokens[at].is_word() {
            return 1;
        }
        let segments = path(&tokens[at..]);
        let before = |steps: usize| at.checked_sub(steps).map_or("", |at| tokens[at].text);
        let is_defined = DEFINING.contains(&before(1)) || before(2) == "macro_rules";
        if depth == 0 && is_defined {
            self.definitions.insert(segments[0].clone());
        }
        let length = segments.len() * 2 - 1;
        self.words.extend(segments.iter().cloned());
        if segments.len() > 1 && before(1) != "::" {
            self.paths.insert(segments);
        }
        length
    }
}

/// `impl` begins a block here, rather than the `impl Trait` of a signature.
fn begins_item(tokens: &[Token<'_>], at: usize) -> bool {
    at == 0 || ["}", ";", "]", "unsafe"].contains(&tokens[at - 1].text)
}

/// The words joined by `::` that `tokens` begin with.
fn path(tokens: &[Token<'_>]) -> Path {
    let mut segments = vec![tokens[0].text.to_owned()];
    for pair in tokens[1..].chunks_exact(2) {
        if pair[0].text != "::" || !pair[1].is_word() {
            break;
        }
        segments.push(pair[1].text.to_owned());
    }
    segments
}

/// Which type the head of an `impl` is for, and whether it implements a trait.
fn implemented(head: &[Token<'_>]) -> (String, bool) {
    let (mut depth, mut name, mut is_trait) = (0, String::new(), false);
    for token in head {
        match token.text {
            "<" => depth += 1,
            ">" => depth -= 1,
            "where" if depth == 0 => break,
            "for" if depth == 0 => is_trait = true,
            word if depth == 0 && token.is_word() => word.clone_into(&mut name),
            _ => {}
        }
    }
    (name, is_trait)
}
