//! What a disk holds that loses its power: what was synchronised, and of the rest nothing, or anything.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use super::Random;
use super::trace::{Call, What};

/// What is written at once, or not at all.
const SECTOR: usize = 512;

/// The disk while a trace is played.
///
/// What a call did counts as durable only if it had returned before a sync of the same file was
/// called that has returned. That holds of names as well: a file that was made is there only after
/// the folder was synchronised, one that was unlinked is there until then.
pub(crate) struct Disk<'a> {
    calls: &'a [Call],
    /// The moments when calls begin and return, the earliest first.
    moments: Vec<Moment>,
    next: usize,
    files: Vec<File>,
    /// Which name is which file, on the disk itself.
    names: BTreeMap<String, usize>,
    /// What was done to names and is not durable.
    renamed: Vec<(Pending, Naming)>,
    /// What each sync under way makes durable when it returns.
    syncs: HashMap<usize, Vec<usize>>,
    /// Which syncs do nothing: a fault that is planted.
    ignored: &'a dyn Fn(&Call) -> bool,
    /// Since when what a call did is durable.
    pub(crate) durable_since: HashMap<usize, usize>,
}

struct Moment {
    line: usize,
    call: usize,
    returns: bool,
}

#[derive(Default)]
struct File {
    durable: Vec<u8>,
    /// The calls that wrote since, in their order.
    pending: Vec<Pending>,
}

#[derive(Clone, Copy)]
struct Pending {
    call: usize,
    returned: bool,
}

enum Naming {
    Made(String, usize),
    Unlinked(String),
}

/// The files of a folder.
pub(crate) type Image = BTreeMap<String, Vec<u8>>;

impl<'a> Disk<'a> {
    /// Makes an empty disk. Syncs that are `ignored` do nothing.
    pub(crate) fn new(calls: &'a [Call], ignored: &'a dyn Fn(&Call) -> bool) -> Self {
        let mut moments = Vec::new();
        for (index, call) in calls.iter().enumerate() {
            let moment = |line, returns| Moment {
                line,
                call: index,
                returns,
            };
            moments.push(moment(call.begin, false));
            moments.extend(call.end.map(|line| moment(line, true)));
        }
        // A call that returned on the line where it began does the two in this order.
        moments.sort_by_key(|moment| (moment.line, moment.returns));
        Self {
            calls,
            moments,
            next: 0,
            files: Vec::new(),
            names: BTreeMap::new(),
            renamed: Vec::new(),
            syncs: HashMap::new(),
            ignored,
            durable_since: HashMap::new(),
        }
    }

    /// Plays everything up to a line, this one included.
    pub(crate) fn play(&mut self, line: usize) {
        while let Some(moment) = self.moments.get(self.next) {
            if moment.line > line {
                break;
            }
            let (call, line) = (moment.call, moment.line);
            if moment.returns {
                self.returns(call, line);
            } else {
                self.begins(call);
            }
            self.next += 1;
        }
    }

    fn begins(&mut self, call: usize) {
        let pending = Pending {
            call,
            returned: false,
        };
        match &self.calls[call].what {
            What::Wrote { name, .. } | What::Resized { name, .. } => {
                let file = self.find(name).expect("what is written to is there");
                self.files[file].pending.push(pending);
            }
            What::Unlinked { name } => {
                self.renamed.push((pending, Naming::Unlinked(name.clone())));
            }
            What::Synced { .. } | What::SyncedFolder if (self.ignored)(&self.calls[call]) => {}
            What::Synced { name } => {
                let file = self.find(name).expect("what is synchronised is there");
                let covered = returned(self.files[file].pending.iter());
                self.syncs.insert(call, covered);
            }
            What::SyncedFolder => {
                let covered = returned(self.renamed.iter().map(|(pending, _)| pending));
                self.syncs.insert(call, covered);
            }
            What::Made { .. } | What::Sent { .. } => {}
        }
    }

    fn returns(&mut self, call: usize, line: usize) {
        match &self.calls[call].what {
            What::Made { name } => {
                if self.find(name).is_none() {
                    self.files.push(File::default());
                    let made = Naming::Made(name.clone(), self.files.len() - 1);
                    let returned = true;
                    self.renamed.push((Pending { call, returned }, made));
                }
            }
            What::Synced { name } => {
                let covered = self.syncs.remove(&call).unwrap_or_default();
                if let Some(file) = self.find(name) {
                    self.make_durable(file, &covered, line);
                }
            }
            What::SyncedFolder => {
                let covered = self.syncs.remove(&call).unwrap_or_default();
                let all = std::mem::take(&mut self.renamed);
                let (durable, rest): (Vec<_>, Vec<_>) = all
                    .into_iter()
                    .partition(|(pending, _)| covered.contains(&pending.call));
                self.renamed = rest;
                for (_, naming) in &durable {
                    naming.apply(&mut self.names);
                }
            }
            What::Sent { .. } => {}
            What::Wrote { .. } | What::Resized { .. } | What::Unlinked { .. } => {
                let files = self.files.iter_mut();
                let written = files.flat_map(|file| file.pending.iter_mut().rev());
                let renamed = self.renamed.iter_mut().map(|(pending, _)| pending);
                let mut all = renamed.chain(written);
                let pending = all.find(|pending| pending.call == call);
                pending.expect("what returns has begun").returned = true;
            }
        }
    }

    /// Makes what calls wrote to a file durable; `covered` ascends.
    fn make_durable(&mut self, file: usize, covered: &[usize], line: usize) {
        let File { durable, pending } = &mut self.files[file];
        for call in covered {
            match &self.calls[*call].what {
                What::Wrote { offset, bytes, .. } => write(durable, *offset, bytes),
                What::Resized { length, .. } => durable.resize(*length, 0),
                _ => {}
            }
            self.durable_since.insert(*call, line);
        }
        pending.retain(|pending| covered.binary_search(&pending.call).is_err());
    }

    /// Returns the file that has a name now, durable or not.
    fn find(&self, name: &str) -> Option<usize> {
        let mut names = self.names.clone();
        for (_, naming) in &self.renamed {
            naming.apply(&mut names);
        }
        names.get(name).copied()
    }

    /// Counts the calls whose writes are not durable now.
    pub(crate) fn unsynced(&self) -> usize {
        self.files.iter().map(|file| file.pending.len()).sum()
    }

    /// Returns what is there after a power cut that drops everything that is not durable.
    pub(crate) fn dropped(&self) -> Image {
        let of =
            |(name, file): (&String, &usize)| (name.clone(), self.files[*file].durable.clone());
        self.names.iter().map(of).collect()
    }

    /// Returns what is there after a power cut that keeps some sectors of what is not durable and
    /// drops others, whatever their order. The index of the log holds anything then.
    pub(crate) fn torn(&self, random: &mut Random) -> Image {
        let kept = 1 + random.below(9);
        let keep = move |random: &mut Random| random.below(10) < kept;
        let mut names = self.names.clone();
        // A file system keeps a journal of these: what is lost is the newest of them.
        let durable = random.below(self.renamed.len() as u64 + 1);
        for (_, naming) in self.renamed.iter().take(durable.try_into().unwrap()) {
            naming.apply(&mut names);
        }
        let mut image = Image::new();
        for (name, file) in names {
            let File { durable, pending } = &self.files[file];
            let mut content = durable.clone();
            for pending in pending {
                match &self.calls[pending.call].what {
                    What::Wrote { offset, bytes, .. } => {
                        for (at, sector) in sectors(*offset, bytes) {
                            if keep(random) {
                                write(&mut content, at, sector);
                            }
                        }
                    }
                    What::Resized { length, .. } if keep(random) => content.resize(*length, 0),
                    _ => {}
                }
            }
            if name.ends_with("-wal") {
                let index = name.replace("-wal", "-shm");
                image.insert(index, random.bytes(64 * SECTOR));
            }
            image.insert(name, content);
        }
        image
    }
}

impl Naming {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Made(name, file) => names.insert(name.clone(), *file),
            Self::Unlinked(name) => names.remove(name),
        };
    }
}

fn returned<'a>(pending: impl Iterator<Item = &'a Pending>) -> Vec<usize> {
    pending
        .filter(|pending| pending.returned)
        .map(|pending| pending.call)
        .collect()
}

fn write(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[offset..end].copy_from_slice(bytes);
}

/// Cuts what is written into the sectors of the file that it goes to.
fn sectors(offset: usize, bytes: &[u8]) -> Vec<(usize, &[u8])> {
    let mut found = Vec::new();
    let (mut at, mut rest) = (offset, bytes);
    while !rest.is_empty() {
        let room = SECTOR - at % SECTOR;
        let (sector, behind) = rest.split_at(room.min(rest.len()));
        found.push((at, sector));
        at += sector.len();
        rest = behind;
    }
    found
}

/// Writes the files into a folder, which is made.
pub(crate) fn lay(image: &Image, folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    for (name, content) in image {
        fs::write(folder.join(name), content).unwrap();
    }
}

#[test]
fn only_what_returned_before_a_sync_is_durable() {
    let wrote = |begin, end, offset, text: &str| Call {
        begin,
        end: Some(end),
        what: What::Wrote {
            name: "a".to_owned(),
            offset,
            bytes: text.as_bytes().to_vec(),
        },
    };
    let call = |begin, end, what| Call {
        begin,
        end: Some(end),
        what,
    };
    let name = "a".to_owned();
    let calls = [
        call(0, 0, What::Made { name: name.clone() }),
        wrote(1, 1, 0, "one"),
        wrote(2, 4, 3, "two"),
        call(3, 5, What::Synced { name: name.clone() }),
        wrote(6, 6, 0, "six"),
        call(7, 7, What::SyncedFolder),
        call(8, 10, What::Synced { name: name.clone() }),
        call(11, 11, What::Unlinked { name }),
    ];
    let mut disk = Disk::new(&calls, &|_| false);
    let mut holds = |line| {
        disk.play(line);
        let image = disk.dropped();
        image
            .get("a")
            .map(|it| String::from_utf8(it.clone()).unwrap())
    };
    assert_eq!(holds(6), None);
    assert_eq!(holds(7).as_deref(), Some("one"));
    assert_eq!(holds(9).as_deref(), Some("one"));
    assert_eq!(holds(10).as_deref(), Some("sixtwo"));
    assert_eq!(holds(12).as_deref(), Some("sixtwo"));
}
