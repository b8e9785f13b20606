//! Reads what `strace -f -y` has written: the calls that change the files of the store, and those that
//! write to sockets.
//!
//! A line number is a moment: strace stops a thread where a call begins and where it has returned, and
//! writes down what it sees before the thread goes on. So what happened because of something else
//! stands behind it.

use std::collections::HashMap;

use memchr::memmem;

/// The calls that must be traced: those that write, or make something durable, and those that would
/// get past what is read here.
pub(crate) const CALLS: &str = "open,openat,openat2,creat,rename,renameat,renameat2,unlink,unlinkat,\
    link,linkat,truncate,ftruncate,pwrite64,pwritev,pwritev2,write,writev,fsync,fdatasync,sync,syncfs,\
    sync_file_range,fallocate,mmap,sendto,sendmsg,sendmmsg,sendfile,copy_file_range,splice,\
    io_uring_setup";

/// A call that matters.
#[derive(Debug)]
pub(crate) struct Call {
    /// The line where it began.
    pub(crate) begin: usize,
    /// The line where it had returned; absent where it never did.
    pub(crate) end: Option<usize>,
    pub(crate) what: What,
}

/// What a call does. Paths are names in the folder of the store.
#[derive(Debug)]
pub(crate) enum What {
    /// Opens a file, and makes it where there is none.
    Made {
        name: String,
    },
    Wrote {
        name: String,
        offset: usize,
        bytes: Vec<u8>,
    },
    Resized {
        name: String,
        length: usize,
    },
    /// `fsync` or `fdatasync`.
    Synced {
        name: String,
    },
    /// `fsync` of the folder itself.
    SyncedFolder,
    Unlinked {
        name: String,
    },
    /// What a socket was given, and how much of it was taken.
    Sent {
        socket: String,
        bytes: Vec<u8>,
        taken: usize,
    },
}

/// Reads a trace of what was done in a folder, and checks that nothing is in it that is not
/// understood. The index of the log (`-shm`) is left out: it is rebuilt whenever a store is opened
/// first, so it need not be durable.
pub(crate) fn parse(trace: &[u8], folder: &str) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    // What each thread is in the middle of: the call's place in the list, or none where it is of no
    // interest.
    let mut under_way: HashMap<&[u8], Option<usize>> = HashMap::new();
    for (line, text) in trace.split(|byte| *byte == b'\n').enumerate() {
        let Some(space) = memchr::memchr(b' ', text) else {
            continue;
        };
        let (thread, rest) = text.split_at(space);
        let rest = rest.trim_ascii();
        if rest.starts_with(b"---") || rest.starts_with(b"+++") {
            continue;
        }
        if rest.starts_with(b"<... ") {
            if let Some(Some(index)) = under_way.remove(thread) {
                returned(&mut calls[index], line, rest);
            }
            continue;
        }
        let index = begun(line, rest, folder).map(|call| {
            calls.push(call);
            calls.len() - 1
        });
        if rest.ends_with(b"<unfinished ...>") {
            under_way.insert(thread, index);
        } else if let Some(index) = index {
            returned(&mut calls[index], line, rest);
        }
    }
    calls.retain(|call| match &call.what {
        // Where nothing was there to open, nothing was made.
        What::Made { .. } | What::Unlinked { .. } => call.end.is_some(),
        _ => true,
    });
    calls
}

/// Notes that a call has returned.
fn returned(call: &mut Call, line: usize, text: &[u8]) {
    let at = memmem::rfind(text, b" = ").unwrap_or_else(|| panic!("{}", shown(text)));
    let result = &text[at + 3..];
    let number: Option<i64> = leading(result).parse().ok();
    let done = number.filter(|number| *number >= 0);
    match &mut call.what {
        What::Made { .. } | What::Unlinked { .. } => {}
        What::Sent { taken, .. } => {
            *taken = done.map_or(0, |number| number.try_into().unwrap());
        }
        What::Wrote { bytes, .. } => {
            let all = i64::try_from(bytes.len()).unwrap();
            assert_eq!(done, Some(all), "{}", shown(text));
        }
        _ => assert_eq!(done, Some(0), "{}", shown(text)),
    }
    if done.is_some() || matches!(call.what, What::Sent { .. }) {
        call.end = Some(line);
    }
}

/// Reads the beginning of a call; `None` of one that is of no interest.
fn begun(line: usize, text: &[u8], folder: &str) -> Option<Call> {
    let open = memchr::memchr(b'(', text)?;
    let name = std::str::from_utf8(&text[..open]).unwrap();
    let arguments = &text[open + 1..];
    let what = match name {
        "sendto" | "sendmsg" | "sendmmsg" | "write" | "writev"
            if descriptor(arguments).starts_with("socket:") =>
        {
            let (strings, _) = strings(arguments);
            Some(What::Sent {
                socket: descriptor(arguments).to_owned(),
                bytes: strings.concat(),
                taken: 0,
            })
        }
        "open" | "openat" | "openat2" | "creat" | "unlink" | "unlinkat" | "rename" | "renameat"
        | "renameat2" | "link" | "linkat" | "truncate" => by_path(name, arguments, folder),
        "sync" | "syncfs" | "io_uring_setup" => panic!("not understood: {}", shown(text)),
        _ => inside(folder, descriptor(arguments))
            .filter(|file| !file.ends_with("-shm"))
            .map(|file| by_descriptor(name, file, arguments)),
    };
    let end = None;
    what.map(|what| Call {
        begin: line,
        end,
        what,
    })
}

/// Reads a call that names a file by its path.
fn by_path(name: &str, arguments: &[u8], folder: &str) -> Option<What> {
    let (strings, rest) = strings(arguments);
    let paths = strings.iter().map(|path| {
        let path = std::str::from_utf8(path).unwrap();
        if path.starts_with('/') {
            path.to_owned()
        } else {
            // The folder where the program runs is the one that it is relative to.
            format!("{}/{path}", descriptor(arguments))
        }
    });
    let mut files = paths.filter_map(|path| inside(folder, &path).map(str::to_owned));
    let file = files.next()?;
    if file.ends_with("-shm") {
        return None;
    }
    let rest = shown(rest);
    match name {
        "unlink" | "unlinkat" => Some(What::Unlinked { name: file }),
        "open" | "openat" if !rest.contains("O_TRUNC") => rest
            .contains("O_CREAT")
            .then_some(What::Made { name: file }),
        _ => panic!("not understood: {name} of {file}: {rest}"),
    }
}

/// Reads a call that names a file of the store by a descriptor.
fn by_descriptor(call: &str, name: &str, arguments: &[u8]) -> What {
    let name = name.to_owned();
    let (strings, rest) = strings(arguments);
    let last = |text: &[u8]| -> usize {
        let after = memmem::rfind(text, b", ").unwrap() + 2;
        leading(&text[after..]).parse().unwrap()
    };
    match call {
        "pwrite64" => {
            let bytes = strings.concat();
            // ", 4096, 8192) = 4096"
            let numbers = &rest[..memmem::rfind(rest, b")").unwrap_or(rest.len())];
            let count: usize = leading(&numbers[2..]).parse().unwrap();
            assert_eq!(count, bytes.len(), "the trace has not all of it");
            let offset = last(numbers);
            What::Wrote {
                name,
                offset,
                bytes,
            }
        }
        "ftruncate" => {
            let length = last(arguments);
            What::Resized { name, length }
        }
        "fsync" | "fdatasync" if name.is_empty() => What::SyncedFolder,
        "fsync" | "fdatasync" => What::Synced { name },
        _ => panic!("not understood: {call} of {name}: {}", shown(rest)),
    }
}

/// Returns the name of a file in the folder; an empty one of the folder itself.
fn inside<'a>(folder: &str, path: &'a str) -> Option<&'a str> {
    let rest = path.strip_prefix(folder)?;
    if rest.is_empty() {
        return Some(rest);
    }
    rest.strip_prefix('/')
}

/// Returns what the first descriptor stands for: what `-y` shows in angle brackets.
fn descriptor(arguments: &[u8]) -> &str {
    let before = memchr::memchr(b'"', arguments).unwrap_or(arguments.len());
    let arguments = &arguments[..before];
    let inner = memchr::memchr(b'<', arguments).and_then(|open| {
        let rest = &arguments[open + 1..];
        memchr::memchr(b'>', rest).map(|close| &rest[..close])
    });
    std::str::from_utf8(inner.unwrap_or_default()).unwrap()
}

/// Returns the strings of a call, and what stands behind the last one.
fn strings(mut text: &[u8]) -> (Vec<Vec<u8>>, &[u8]) {
    let mut found = Vec::new();
    while let Some(open) = memchr::memchr(b'"', text) {
        let (string, rest) = string(&text[open + 1..]);
        assert!(!rest.starts_with(b"..."), "the trace cuts strings short");
        found.push(string);
        text = rest;
    }
    (found, text)
}

/// Reads a string as C writes it, up to its quotation mark; returns what stands behind that.
fn string(text: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut bytes = Vec::with_capacity(text.len().min(4096));
    let mut at = 0;
    loop {
        // What needs no escape goes over in one piece.
        let plain = memchr::memchr2(b'"', b'\\', &text[at..]).expect("a string ends");
        bytes.extend_from_slice(&text[at..at + plain]);
        at += plain;
        if text[at] == b'"' {
            return (bytes, &text[at + 1..]);
        }
        let (byte, length) = escaped(&text[at + 1..]);
        bytes.push(byte);
        at += 1 + length;
    }
}

/// Reads what stands behind a backslash; returns the byte and how long that was.
fn escaped(text: &[u8]) -> (u8, usize) {
    let byte = match text[0] {
        b'n' => b'\n',
        b't' => b'\t',
        b'r' => b'\r',
        b'v' => 0x0b,
        b'f' => 0x0c,
        other @ (b'"' | b'\\') => other,
        _ => {
            let mut digits = text
                .iter()
                .take(3)
                .take_while(|byte| (b'0'..=b'7').contains(byte));
            let length = digits.clone().count();
            assert!(length > 0, "no escape: {}", shown(text));
            let value = digits.try_fold(0, |value: u8, digit| {
                value.checked_mul(8)?.checked_add(digit - b'0')
            });
            return (value.unwrap(), length);
        }
    };
    (byte, 1)
}

/// Returns the number at the beginning of a text.
fn leading(text: &[u8]) -> &str {
    let is_number = |byte: &u8| byte.is_ascii_digit() || *byte == b'-';
    let length = text.iter().take_while(|byte| is_number(byte)).count();
    std::str::from_utf8(&text[..length]).unwrap()
}

/// Returns the beginning of a text, for people.
fn shown(text: &[u8]) -> String {
    String::from_utf8_lossy(&text[..text.len().min(300)]).into_owned()
}

#[test]
fn strings_are_read_as_they_were_written() {
    let (bytes, rest) = string(br#"a\0\12\0011\377\"\\\n", 8, 0) = 8"#);
    assert_eq!(bytes, b"a\0\n\x011\xff\"\\\n");
    assert_eq!(rest, b", 8, 0) = 8");
}

#[test]
fn calls_of_several_threads_are_told_apart() {
    let trace = br#"7 pwrite64(3</d/a.db-wal>, "ab", 2, 32 <unfinished ...>
8  sendto(9<socket:[5]>, "{}\n", 3, MSG_NOSIGNAL, NULL, 0) = 2
7  <... pwrite64 resumed>) = 2
8  fsync(4</d> <unfinished ...>
8  <... fsync resumed>)     = 0
8  openat(AT_FDCWD</d>, "a.db", O_RDWR|O_CREAT, 0600) = 3</d/a.db>
8  openat(AT_FDCWD</d>, "b.db", O_RDWR|O_CREAT, 0600) = -1 EACCES (Permission denied)
8  pwrite64(3</elsewhere/a.db>, "ab", 2, 32) = 2
8  mmap(NULL, 9, PROT_READ, MAP_SHARED, 3</d/a.db-shm>, 0) = 0x7fc8
8  +++ exited with 0 +++
"#;
    let calls = parse(trace, "/d");
    let told: Vec<String> = calls.iter().map(|call| format!("{call:?}")).collect();
    let expected = [
        r#"Call { begin: 0, end: Some(2), what: Wrote { name: "a.db-wal", offset: 32, bytes: [97, 98] } }"#,
        r#"Call { begin: 1, end: Some(1), what: Sent { socket: "socket:[5]", bytes: [123, 125, 10], taken: 2 } }"#,
        "Call { begin: 3, end: Some(4), what: SyncedFolder }",
        r#"Call { begin: 5, end: Some(5), what: Made { name: "a.db" } }"#,
    ];
    assert_eq!(told, expected);
}
