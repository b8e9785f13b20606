//! Keeps the house in order: file lengths, links, the README's claims, the core's dependencies.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests"
)]

mod repository;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use repository::{read, root};

/// The crates that `parlor-core` may use, and their own. All are small and know no runtime.
/// (`cpufeatures` uses `libc` on some processors.)
const CORE_MAY_USE: &[&str] = &[
    "base64",
    "block-buffer",
    "caseless",
    "cfg-if",
    "cmov",
    "const-oid",
    "cpufeatures",
    "crypto-common",
    "ctutils",
    "digest",
    "hmac",
    "hybrid-array",
    "itoa",
    "libc",
    "memchr",
    "parlor-core",
    "proc-macro2",
    "quote",
    "serde",
    "serde_core",
    "serde_derive",
    "serde_json",
    "sha2",
    "smallvec",
    "smol_str",
    "syn",
    "thiserror",
    "thiserror-impl",
    "tinyvec",
    "typenum",
    "unicode-ident",
    "unicode-normalization",
    "zmij",
];

const MOST_LINES: usize = 600;

/// Returns the files of the repository whose names end so, with their texts.
fn files(endings: &[&str]) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
            let kind = entry.file_type().unwrap();
            if kind.is_dir() && ![".git", "target", "corpus", "artifacts"].contains(&name.as_str())
            {
                folders.push(path);
            } else if kind.is_file() && endings.iter().any(|ending| name.ends_with(ending)) {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no file ends in one of {endings:?}");
    found
}

#[test]
fn files_are_short_and_finished() {
    // Spelled apart, so that this file is held to its own rules.
    let unfinished = [
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("dbg", "!("),
        concat!("#[", "ignore"),
        concat!("FIX", "ME"),
        concat!("TO", "DO"),
    ];
    let mut wrong = Vec::new();
    for (path, text) in files(&[".rs", ".py"]) {
        let lines = text.lines().count();
        if lines >= MOST_LINES {
            wrong.push(format!("{}: {lines} lines", path.display()));
        }
        for word in unfinished {
            if text.contains(word) {
                wrong.push(format!("{}: has {word}", path.display()));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn no_path_of_anyones_machine() {
    let paths = [
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
        concat!("/ho", "me/"),
        concat!("/Use", "rs/"),
        concat!("/tmp", "/t-"),
    ];
    let endings = [
        ".rs",
        ".py",
        ".md",
        ".toml",
        ".lock",
        ".yml",
        "run",
        "test",
        "planted",
        ".gitignore",
    ];
    for (path, text) in files(&endings) {
        for machine in paths {
            assert!(!text.contains(machine), "{}: has {machine}", path.display());
        }
    }
}

#[test]
fn links_resolve() {
    let mut wrong = Vec::new();
    let mut links = 0;
    for (path, text) in files(&[".md"]) {
        for target in link_targets(&text) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            links += 1;
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let linked = match file {
                "" => path.clone(),
                file => path.parent().unwrap().join(file),
            };
            if !linked.exists() {
                wrong.push(format!("{}: {target}", path.display()));
            } else if !anchor.is_empty() {
                let anchors = anchors(&fs::read_to_string(&linked).unwrap());
                if !anchors.contains(anchor) {
                    wrong.push(format!("{}: no heading for {target}", path.display()));
                }
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert!(links > 10, "only {links} links were found");
}

/// Returns what the links of a page point to: the `there` of `[text](there)`, outside of fences.
fn link_targets(text: &str) -> Vec<&str> {
    prose(text)
        .flat_map(|line| line.split("](").skip(1))
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target)
        .collect()
}

/// Returns the anchors of a page's headings, as GitHub makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    prose(text)
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            line.trim_start_matches('#')
                .trim()
                .chars()
                .filter(|character| character.is_alphanumeric() || " -_".contains(*character))
                .map(|character| if character == ' ' { '-' } else { character })
                .flat_map(char::to_lowercase)
                .collect()
        })
        .collect()
}

/// Iterates over the lines outside of fenced blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().filter(move |line| {
        let fence = line.starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

/// Returns the lines of a page's `sh` blocks.
fn commands(text: &str) -> Vec<&str> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.starts_with("```") {
            inside = line == "```sh";
        } else if inside {
            found.push(line);
        }
    }
    found
}

#[test]
fn the_readme_is_true() {
    let readme = read("README.md");
    let manifest = read("Cargo.toml");
    let rust = value(&manifest, "rust-version");
    assert!(
        readme.contains(&format!("Rust {rust} is needed")),
        "the README asks for another Rust than {rust}"
    );
    assert_eq!(value(&read("fuzz/Cargo.toml"), "rust-version"), rust);
    let version = value(&manifest, "version");
    assert!(read("CHANGELOG.md").contains(&format!("\n## {version}")));

    let mut parlor = 0;
    for command in commands(&readme) {
        let words: Vec<&str> = command.split_whitespace().collect();
        let kinds = ["--example", "--test"];
        if let Some(at) = words.iter().position(|word| kinds.contains(word)) {
            let package = words.iter().position(|word| *word == "-p").unwrap() + 1;
            let folder = match words.get(package).copied() {
                Some("parlor-core") => "core",
                Some("parlor") => "bin",
                other => panic!("whose folder is {other:?}?"),
            };
            let kind = words.get(at).unwrap().trim_start_matches('-');
            let name = words.get(at + 1).unwrap();
            assert!(
                root().join(format!("{folder}/{kind}s/{name}.rs")).exists(),
                "{command}"
            );
        } else if let Some(at) = words.iter().position(|word| *word == "--") {
            assert!(
                command.starts_with("cargo run --release -p parlor -- "),
                "{command}"
            );
            let (name, arguments) = words.get(at + 1..).unwrap().split_first().unwrap();
            is_taken(name, arguments);
            parlor += 1;
        } else {
            let script = words.first().unwrap();
            assert!(root().join(script).is_file(), "{command}");
        }
    }
    assert!(parlor >= 3, "the README shows how to run the program");
}

/// Checks that the program knows a subcommand and its flags.
fn is_taken(name: &str, arguments: &[&str]) {
    let output = Command::new(env!("CARGO_BIN_EXE_parlor"))
        .args([name, "--help"])
        .output()
        .unwrap();
    assert!(output.status.success(), "there is no `parlor {name}`");
    let help = String::from_utf8(output.stdout).unwrap();
    for flag in arguments
        .iter()
        .filter(|argument| argument.starts_with("--"))
    {
        assert!(help.contains(flag), "`parlor {name}` takes no {flag}");
    }
}

/// Returns the value of the first `key = "value"` of a manifest.
fn value<'a>(manifest: &'a str, key: &str) -> &'a str {
    manifest
        .lines()
        .find_map(|line| {
            line.strip_prefix(key)?
                .trim_start()
                .strip_prefix('=')?
                .trim()
                .strip_prefix('"')
        })
        .and_then(|rest| rest.split_once('"'))
        .unwrap_or_else(|| panic!("there is no {key}"))
        .0
}

#[test]
fn the_core_stays_small() {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--offline",
            "--locked",
            "-p",
            "parlor-core",
            "--all-features",
        ])
        .args(["-e", "normal", "--prefix", "none", "--format", "{p}"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let tree = String::from_utf8(output.stdout).unwrap();
    let used: BTreeSet<&str> = tree
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let allowed = BTreeSet::from_iter(CORE_MAY_USE.iter().copied());
    assert!(used.contains("serde_json"), "{tree}");
    assert_eq!(
        used.difference(&allowed).collect::<Vec<_>>(),
        Vec::<&&str>::new()
    );
}

#[test]
fn the_core_keeps_its_bans() {
    assert!(read("core/src/lib.rs").contains("\n#![forbid(unsafe_code)]\n"));
    assert!(read("core/Cargo.toml").contains("\n[lints]\nworkspace = true\n"));
    for krate in ["bin", "storage", "transport-tcp"] {
        let manifest = read(&format!("{krate}/Cargo.toml"));
        assert!(
            manifest.contains("\n[lints]\nworkspace = true\n"),
            "{krate}"
        );
    }
    let allowed = BTreeSet::from(["parlor-core"]);
    for krate in ["core", "storage", "transport-tcp"] {
        let manifest = read(&format!("{krate}/Cargo.toml"));
        let (_, dependencies) = manifest.split_once("\n[dependencies]\n").unwrap();
        let dependencies = dependencies.split("\n[").next().unwrap();
        for line in dependencies
            .lines()
            .filter(|line| line.starts_with("parlor-"))
        {
            let name = line.split([' ', '.']).next().unwrap();
            assert!(
                krate != "core" && allowed.contains(name),
                "{krate} knows {name}"
            );
        }
    }
}

#[test]
fn the_plots_are_drawn_from_their_data() {
    let mut plots = 0;
    for (data, _) in files(&[".tsv"]) {
        let output = Command::new(root().join(".ci/plot"))
            .arg(&data)
            .output()
            .expect("bash and awk run");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {said}", data.display());
        let drawn = String::from_utf8(output.stdout).unwrap();
        let committed = fs::read_to_string(data.with_extension("svg")).unwrap();
        assert!(drawn == committed, "{}: run .ci/plot", data.display());
        plots += 1;
    }
    assert!(plots > 0);
}
