//! One module of `src/`, which is one file: what it defines, what it imports, and which paths it names.

use std::collections::BTreeSet;

use crate::tokens::{Token, nesting};

/// `crate::hub::Hub`, segment by segment.
pub type Path = Vec<String>;

#[derive(Default)]
pub struct Module {
    /// `hub::recovery`; empty for the crate root.
    pub path: Path,
    /// Relative to `src/`.
    pub file: String,
    pub children: BTreeSet<String>,
    pub definitions: BTreeSet<String>,
    pub imports: Vec<Import>,
    /// Paths of two or more segments outside imports.
    pub paths: BTreeSet<Path>,
    pub impls: Vec<Impl>,
    /// Identifiers and keywords outside imports.
    words: BTreeSet<String>,
}

/// One name that a `use` imports.
pub struct Import {
    /// The name in this module, `b` for `a as b`; `*` for a glob.
    pub name: String,
    pub path: Path,
    pub public: bool,
}

/// An `impl` block.
pub struct Impl {
    /// The name of the type.
    pub of: String,
    /// Empty for an implementation of a trait.
    pub methods: BTreeSet<String>,
    /// Names that the block uses as `self.name` or `Self::name`.
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
                // `use<…>` lists the lifetimes that an `impl Trait` captures.
                "use" if tokens[at + 1].text != "<" => module.read_import(tokens, at),
                "mod" if depth == 0 => module.read_child(&tokens[at..]),
                "impl" if depth == 0 && begins_item(tokens, at) => module.read_impl(&tokens[at..]),
                _ => module.read_path(tokens, at, depth),
            };
        }
        module
    }

    /// Whether the module uses the name outside imports.
    pub fn uses(&self, name: &str) -> bool {
        self.words.contains(name)
    }

    /// The methods that this module implements for the type of this name.
    pub fn methods(&self, of: &str) -> BTreeSet<&String> {
        let blocks = self.impls.iter().filter(|block| block.of == of);
        blocks.flat_map(|block| &block.methods).collect()
    }

    fn read_import(&mut self, tokens: &[Token<'_>], at: usize) -> usize {
        let length = tokens[at..].iter().take_while(|token| token.text != ";").count();
        let public = at > 0 && ["pub", ")"].contains(&tokens[at - 1].text);
        let mut tree = &tokens[at + 1..at + length];
        self.read_import_tree(&mut tree, &[], public);
        length
    }

    /// Reads one branch of `a::{b, c as d, e::*}`, up to its comma or the end of its group.
    fn read_import_tree(&mut self, tree: &mut &[Token<'_>], before: &[String], public: bool) {
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
                        self.read_import_tree(tree, &path, public);
                    }
                    *tree = &tree[1..];
                }
                "as" => {
                    name = Some(tree[0].text.to_owned());
                    *tree = &tree[1..];
                }
                // `::redis` is always a crate, even if the module defines an item of that name.
                "::" if path.is_empty() => path.push(String::new()),
                "::" => {}
                "self" if !path.is_empty() => {}
                segment => path.push(segment.to_owned()),
            }
        }
        let last = path.last().cloned().filter(|_| !is_group);
        self.imports.extend(last.map(|last| Import { name: name.unwrap_or(last), path, public }));
    }

    fn read_child(&mut self, tokens: &[Token<'_>]) -> usize {
        assert_eq!(tokens[2].text, ";", "{}: only test modules may be inline", self.file);
        self.children.insert(tokens[1].text.to_owned());
        3
    }

    /// Records the block and takes only the word `impl`: its body is then read like all other tokens.
    fn read_impl(&mut self, tokens: &[Token<'_>]) -> usize {
        let head = tokens.iter().take_while(|token| token.text != "{").count();
        let (of, is_trait) = implementing_type(&tokens[1..head]);
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

    fn read_path(&mut self, tokens: &[Token<'_>], at: usize, depth: i32) -> usize {
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

/// Whether this `impl` begins a block, rather than the `impl Trait` of a signature.
fn begins_item(tokens: &[Token<'_>], at: usize) -> bool {
    at == 0 || ["}", ";", "]", "unsafe"].contains(&tokens[at - 1].text)
}

/// The path at the start of `tokens`: words joined by `::`.
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

/// The type that the head of an `impl` is for, and whether the block implements a trait.
fn implementing_type(head: &[Token<'_>]) -> (String, bool) {
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
