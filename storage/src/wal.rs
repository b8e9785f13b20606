//! Has SQLite write its log in few writes.
//!
//! SQLite writes each page of a transaction into the write-ahead log with two system calls, one of
//! them for the 24 bytes that say which page it is. A message changes two pages and more, so these
//! calls were a sixth of what it costs. Here is a layer between SQLite and the operating system (a
//! [VFS]) that gathers what is written into the log and hands it on in pieces of up to [`MOST`] bytes:
//!
//! - with the last page of a transaction, so before anybody learns that there is one (and before the
//!   log is synchronized, which comes after that page);
//! - before anything else is done with the log: it is synchronized, read, cut off or asked for its
//!   size, or written elsewhere than at its end.
//!
//! What is left when the right to write is given back is of a transaction that was rolled back, whose
//! pages another connection may be about to overwrite: it is dropped.
//!
//! Everything else is left to SQLite's own layer, whose files these lie before in memory.
//!
//! [VFS]: https://www.sqlite.org/vfs.html
#![expect(unsafe_code, reason = "the interface of SQLite's layers is one of C")]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::{self, null, null_mut};
use std::slice;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, Ordering};

use libsqlite3_sys as sqlite;
use sqlite::{sqlite3_file as File, sqlite3_io_methods as Methods, sqlite3_vfs as Vfs};

/// How many bytes are gathered at most. SQLite's layer for Unix writes fewer than 128 KiB at a time.
const MOST: usize = 120 << 10;

/// The length of what stands before each page in the log. Its second four bytes are zero but for the
/// last page of a transaction (<https://www.sqlite.org/fileformat.html#wal_file_format>).
const HEAD: usize = 24;

/// The lock that a connection holds while it writes into the log: the first of those in the log's
/// index (<https://www.sqlite.org/walformat.html#wal_locks>).
const WRITE_LOCK: c_int = 0;

/// What the layer is called.
const NAME: &CStr = c"parlor";

/// SQLite's own layer, once ours is registered: the one that a program chooses for everyone later may
/// be another.
static SYSTEM: AtomicPtr<Vfs> = AtomicPtr::new(null_mut());

/// Registers the layer, once, and returns its name; `None` where SQLite has none of its own.
pub(crate) fn register() -> Option<&'static str> {
    static REGISTERED: OnceLock<bool> = OnceLock::new();
    let registered = *REGISTERED.get_or_init(|| {
        // SAFETY: both may be called at any time. A layer that is found is valid for ever, and so is
        // the copy, which is never freed. A layer's functions get the layer that they are called for;
        // SQLite's own ones look at nothing of it that differs in the copy.
        unsafe {
            sqlite::sqlite3_initialize();
            let system = sqlite::sqlite3_vfs_find(null());
            if system.is_null() {
                return false;
            }
            SYSTEM.store(system, Ordering::Release);
            let mut layer = *system;
            layer.pNext = null_mut();
            layer.zName = NAME.as_ptr();
            layer.szOsFile = layer.szOsFile.saturating_add(SIZE);
            layer.xOpen = Some(open);
            sqlite::sqlite3_vfs_register(Box::leak(Box::new(layer)), 0) == sqlite::SQLITE_OK
        }
    });
    registered.then(|| NAME.to_str().ok()).flatten()
}

/// A database that is open. The file of SQLite's own layer follows in memory.
#[repr(C)]
struct Database {
    file: File,
    /// Its log, while that is open.
    log: *mut Log,
}

/// A log that is open. The file of SQLite's own layer follows in memory.
#[repr(C)]
struct Log {
    file: File,
    database: *mut Database,
    gathered: *mut Gathered,
}

/// How much longer our files are than those of SQLite's own layer.
const SIZE: c_int = {
    assert!(size_of::<Log>() == 3 * size_of::<usize>());
    assert!(size_of::<Database>() == 2 * size_of::<usize>());
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        reason = "three words"
    )]
    let size = size_of::<Log>() as c_int;
    size
};

/// What is to be written at some place in a log.
#[derive(Debug, Default)]
struct Gathered {
    bytes: Vec<u8>,
    offset: i64,
    /// Whether the page that comes next is the last of a transaction.
    ends: bool,
}

impl Gathered {
    /// Tells whether bytes for this place can be added.
    fn takes(&self, bytes: &[u8], offset: i64) -> bool {
        let end = i64::try_from(self.bytes.len()).map(|length| self.offset.saturating_add(length));
        self.bytes.is_empty() || end == Ok(offset) && self.bytes.len() + bytes.len() <= MOST
    }

    /// Adds bytes; tells whether a transaction ends with them.
    fn add(&mut self, bytes: &[u8], offset: i64) -> bool {
        if self.bytes.is_empty() {
            self.offset = offset;
        }
        self.bytes.extend_from_slice(bytes);
        let ended = self.ends;
        self.ends = bytes.len() == HEAD && bytes.get(4..8) != Some(&[0; 4]);
        ended
    }

    /// Drops the bytes. Whether the next page ends a transaction stays: its head may have been the
    /// last that there was room for.
    fn clear(&mut self) {
        self.bytes.clear();
    }
}

/// Calls a method of a file of SQLite's own layer.
macro_rules! call {
    ($file:expr, $method:ident($($argument:expr),*)) => {{
        let file: *mut File = $file;
        match (*(*file).pMethods).$method {
            Some(method) => method(file $(, $argument)*),
            None => sqlite::SQLITE_IOERR,
        }
    }};
}

/// Returns the file that follows one of ours.
///
/// # Safety
/// `file` is a `T` that [`open`] has filled in.
const unsafe fn following<T>(file: *mut File) -> *mut File {
    // SAFETY: SQLite gives `SIZE` bytes and more, and those of its own layer's file behind them.
    unsafe { file.cast::<T>().add(1).cast() }
}

/// Finds the database of a log, if it is ours.
///
/// # Safety
/// `name` is what SQLite opens a log by.
unsafe fn owner(name: *const c_char) -> *mut Database {
    // SAFETY: by the contract; a file that SQLite has open begins with its methods.
    unsafe {
        let file = sqlite::sqlite3_database_file_object(name);
        if !file.is_null() && ptr::eq((*file).pMethods, &raw const DATABASE) {
            file.cast()
        } else {
            null_mut()
        }
    }
}

/// Opens a file: those that are databases or logs become ours.
unsafe extern "C" fn open(
    _: *mut Vfs,
    name: *const c_char,
    file: *mut File,
    flags: c_int,
    flags_out: *mut c_int,
) -> c_int {
    let system = SYSTEM.load(Ordering::Acquire);
    // SAFETY: this is called only after `SYSTEM` is set. SQLite passes a file of `szOsFile` bytes,
    // aligned for 8, which no one else sees until this returns. Its `pMethods` is null unless what is
    // before the following file is filled in.
    unsafe {
        let Some(open) = (*system).xOpen else {
            return sqlite::SQLITE_CANTOPEN;
        };
        let is_database = flags & sqlite::SQLITE_OPEN_MAIN_DB != 0;
        let database = if flags & sqlite::SQLITE_OPEN_WAL != 0 {
            owner(name)
        } else {
            null_mut()
        };
        let real = match (is_database, database.is_null()) {
            (true, _) => following::<Database>(file),
            (false, false) => following::<Log>(file),
            (false, true) => return open(system, name, file, flags, flags_out),
        };
        (*file).pMethods = null();
        (*real).pMethods = null();
        let result = open(system, name, real, flags, flags_out);
        if result != sqlite::SQLITE_OK {
            return result;
        }
        if is_database {
            let file_of_ours = Database {
                file: File {
                    pMethods: &raw const DATABASE,
                },
                log: null_mut(),
            };
            ptr::write(file.cast(), file_of_ours);
        } else {
            (*database).log = file.cast();
            let log = Log {
                file: File {
                    pMethods: &raw const LOG,
                },
                database,
                gathered: Box::into_raw(Box::default()),
            };
            ptr::write(file.cast(), log);
        }
        result
    }
}

/// Hands on what is gathered. If that fails, SQLite rolls back.
///
/// # Safety
/// `file` is an open [`Log`], used by this thread alone.
unsafe fn hand_on(file: *mut File) -> c_int {
    // SAFETY: by the contract; `gathered` lives as long as the file is open, and nobody else has a
    // reference to it.
    unsafe {
        let gathered = &mut *(*file.cast::<Log>()).gathered;
        if gathered.bytes.is_empty() {
            return sqlite::SQLITE_OK;
        }
        let Ok(length) = c_int::try_from(gathered.bytes.len()) else {
            return sqlite::SQLITE_IOERR;
        };
        let bytes = gathered.bytes.as_ptr().cast();
        let result = call!(
            following::<Log>(file),
            xWrite(bytes, length, gathered.offset)
        );
        gathered.clear();
        result
    }
}

unsafe extern "C" fn write_log(
    file: *mut File,
    bytes: *const c_void,
    length: c_int,
    offset: i64,
) -> c_int {
    let Ok(count) = usize::try_from(length) else {
        return sqlite::SQLITE_IOERR;
    };
    // SAFETY: SQLite calls with an open log of ours, from one thread at a time, and bytes that are
    // there until this returns. `gathered` is not used while `hand_on` uses it.
    unsafe {
        let gathered = (*file.cast::<Log>()).gathered;
        let given = slice::from_raw_parts(bytes.cast::<u8>(), count);
        if !(*gathered).takes(given, offset) {
            let result = hand_on(file);
            if result != sqlite::SQLITE_OK {
                return result;
            }
        }
        if count > MOST {
            return call!(following::<Log>(file), xWrite(bytes, length, offset));
        }
        if (*gathered).add(given, offset) {
            return hand_on(file);
        }
        sqlite::SQLITE_OK
    }
}

unsafe extern "C" fn close_log(file: *mut File) -> c_int {
    // SAFETY: SQLite closes a log of ours once, and before its database.
    unsafe {
        let log = file.cast::<Log>();
        (*(*log).database).log = null_mut();
        drop(Box::from_raw((*log).gathered));
        call!(following::<Log>(file), xClose())
    }
}

unsafe extern "C" fn lock_index(
    file: *mut File,
    first: c_int,
    count: c_int,
    flags: c_int,
) -> c_int {
    // SAFETY: SQLite calls with an open database of ours, from one thread at a time, which is the one
    // that uses the log.
    unsafe {
        let log = (*file.cast::<Database>()).log;
        let unlocks = flags & sqlite::SQLITE_SHM_UNLOCK != 0;
        if unlocks && first == WRITE_LOCK && !log.is_null() {
            (*(*log).gathered).clear();
        }
        call!(following::<Database>(file), xShmLock(first, count, flags))
    }
}

/// Makes functions that pass a call on to the file that follows one of ours.
macro_rules! pass {
    ($ours:ty: $($name:ident $method:ident($($argument:ident: $type:ty),*);)*) => {$(
        unsafe extern "C" fn $name(file: *mut File $(, $argument: $type)*) -> c_int {
            // SAFETY: SQLite calls with an open file of this kind and with what the method takes.
            unsafe { call!(following::<$ours>(file), $method($($argument),*)) }
        }
    )*};
}

/// Makes functions that pass a call on to a log after what is gathered.
macro_rules! pass_after {
    ($($name:ident $method:ident($($argument:ident: $type:ty),*);)*) => {$(
        unsafe extern "C" fn $name(file: *mut File $(, $argument: $type)*) -> c_int {
            // SAFETY: SQLite calls with an open log of ours, from one thread at a time, and with what
            // the method takes.
            unsafe {
                match hand_on(file) {
                    sqlite::SQLITE_OK => call!(following::<Log>(file), $method($($argument),*)),
                    failed => failed,
                }
            }
        }
    )*};
}

pass! { Database:
    close xClose();
    read xRead(bytes: *mut c_void, length: c_int, offset: i64);
    write xWrite(bytes: *const c_void, length: c_int, offset: i64);
    truncate xTruncate(size: i64);
    sync xSync(flags: c_int);
    size xFileSize(size: *mut i64);
    lock xLock(level: c_int);
    unlock xUnlock(level: c_int);
    is_reserved xCheckReservedLock(reserved: *mut c_int);
    control xFileControl(operation: c_int, argument: *mut c_void);
    sector xSectorSize();
    traits xDeviceCharacteristics();
    map_index xShmMap(page: c_int, size: c_int, extend: c_int, mapped: *mut *mut c_void);
    unmap_index xShmUnmap(delete: c_int);
}

pass! { Log:
    lock_log xLock(level: c_int);
    unlock_log xUnlock(level: c_int);
    is_log_reserved xCheckReservedLock(reserved: *mut c_int);
    sector_of_log xSectorSize();
    traits_of_log xDeviceCharacteristics();
}

pass_after! {
    read_log xRead(bytes: *mut c_void, length: c_int, offset: i64);
    truncate_log xTruncate(size: i64);
    sync_log xSync(flags: c_int);
    size_of_log xFileSize(size: *mut i64);
    control_log xFileControl(operation: c_int, argument: *mut c_void);
}

unsafe extern "C" fn barrier(file: *mut File) {
    // SAFETY: SQLite calls with an open database of ours.
    unsafe {
        let file = following::<Database>(file);
        if let Some(barrier) = (*(*file).pMethods).xShmBarrier {
            barrier(file);
        }
    }
}

/// The methods of databases. They are of the second version: without maps of the file, which are not
/// used.
static DATABASE: Methods = Methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(is_reserved),
    xFileControl: Some(control),
    xSectorSize: Some(sector),
    xDeviceCharacteristics: Some(traits),
    xShmMap: Some(map_index),
    xShmLock: Some(lock_index),
    xShmBarrier: Some(barrier),
    xShmUnmap: Some(unmap_index),
    xFetch: None,
    xUnfetch: None,
};

/// The methods of logs, which have no index of their own.
static LOG: Methods = Methods {
    iVersion: 1,
    xClose: Some(close_log),
    xRead: Some(read_log),
    xWrite: Some(write_log),
    xTruncate: Some(truncate_log),
    xSync: Some(sync_log),
    xFileSize: Some(size_of_log),
    xLock: Some(lock_log),
    xUnlock: Some(unlock_log),
    xCheckReservedLock: Some(is_log_reserved),
    xFileControl: Some(control_log),
    xSectorSize: Some(sector_of_log),
    xDeviceCharacteristics: Some(traits_of_log),
    xShmMap: None,
    xShmLock: None,
    xShmBarrier: None,
    xShmUnmap: None,
    xFetch: None,
    xUnfetch: None,
};

#[cfg(test)]
mod tests;
