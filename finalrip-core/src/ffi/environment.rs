//! The C environment: what plugins read with `getenv`, and what programs that a script starts inherit.

use std::ffi::{CStr, CString, OsStr, c_char};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Mutex, PoisonError};

unsafe extern "C" {
    /// The C library's own pointer to the list of variables, which ends with a null pointer.
    static mut environ: *mut *mut c_char;
}

/// The list that was made here last, with room for so many entries, and the last entry that was put into one. Neither is
/// ever freed: other threads may be reading them.
struct Kept {
    list: *mut *mut c_char,
    room: usize,
    entry: Option<&'static CStr>,
}

// SAFETY: the pointer is only compared and written through under the mutex that the value lies in.
unsafe impl Send for Kept {}

static KEPT: Mutex<Kept> = Mutex::new(Kept { list: ptr::null_mut(), room: 0, entry: None });

/// A variable of the process, set for as long as this lives; then it is what it was before.
///
/// Other threads may read the environment meanwhile. With `setenv` that would not be safe: for a new variable it frees the
/// list that they are reading (glibc before 2.41). So a new variable comes with a new list, and the old one stays. Two
/// threads that change the environment at the same moment, which Rust forbids and Python's lock prevents, may lose one of
/// the changes.
#[derive(Debug)]
pub(crate) struct Variable {
    name: CString,
    before: Option<CString>,
}

impl Variable {
    /// Sets it; `None` when name or value hold a NUL byte, which no variable can.
    pub(crate) fn set(name: &str, value: &OsStr) -> Option<Self> {
        let (name, value) = (CString::new(name).ok()?, CString::new(value.as_encoded_bytes()).ok()?);
        // SAFETY: a terminated string; the answer is copied at once, and glibc never frees a variable's text.
        let before = unsafe { libc::getenv(name.as_ptr()).as_ref().map(|text| CStr::from_ptr(text).to_owned()) };
        match before {
            // Replaces one pointer of the list; text that was there before stays valid.
            // SAFETY: terminated strings, which are copied.
            Some(_) => drop(unsafe { libc::setenv(name.as_ptr(), value.as_ptr(), 1) }),
            None => add(&[name.as_bytes(), b"=", value.as_bytes()].concat()),
        }
        Some(Self { name, before })
    }
}

impl Drop for Variable {
    fn drop(&mut self) {
        // SAFETY: terminated strings, which are copied. What was added here is the last entry of its list, or was when the
        // script added variables of its own behind it: taking it out moves no entry that another thread might be looking for.
        unsafe {
            match &self.before {
                Some(value) => libc::setenv(self.name.as_ptr(), value.as_ptr(), 1),
                None => libc::unsetenv(self.name.as_ptr()),
            };
        }
    }
}

/// Adds `NAME=value` behind the last variable.
fn add(entry: &[u8]) {
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    let entry = match kept.entry.filter(|last| last.to_bytes() == entry) {
        Some(last) => last,
        None => Box::leak(CString::new(entry).unwrap_or_default().into_boxed_c_str()),
    };
    kept.entry = Some(entry);
    // SAFETY: `environ` is aligned, and nothing but whole pointers is ever stored there.
    let list = unsafe { AtomicPtr::from_ptr(&raw mut environ) };
    let old = list.load(Ordering::Acquire);
    let mut count = 0;
    // SAFETY: the list is null, or ends with a null pointer.
    while !old.is_null() && unsafe { !(*old.add(count)).is_null() } {
        count += 1;
    }
    if old.is_null() || old != kept.list || count + 2 > kept.room {
        kept.room = count + 16;
        let mut new = vec![ptr::null_mut::<c_char>(); kept.room];
        if !old.is_null() {
            // SAFETY: `count` entries were counted above, and the new list is longer.
            unsafe { ptr::copy_nonoverlapping(old, new.as_mut_ptr(), count) };
        }
        kept.list = Box::leak(new.into_boxed_slice()).as_mut_ptr();
    }
    // SAFETY: the list was made here and has room for the entry and the null pointer behind it, which is there before the
    // entry is: who reads it meanwhile finds its end in either case.
    unsafe {
        kept.list.add(count + 1).write(ptr::null_mut());
        AtomicPtr::from_ptr(kept.list.add(count)).store(entry.as_ptr().cast_mut(), Ordering::Release);
    }
    list.store(kept.list, Ordering::Release);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_child(name: &str) -> String {
        let shell = std::process::Command::new("sh").arg("-c").arg(format!("printf %s \"${{{name}-unset}}\"")).output();
        String::from_utf8(shell.unwrap().stdout).unwrap()
    }

    #[test]
    fn a_variable_is_there_for_a_time_and_then_as_before() {
        const NAME: &str = "FINALRIP_TEST_VARIABLE";
        for round in 0..40 {
            let value = format!("value {round}");
            let outer = Variable::set(NAME, OsStr::new(&value)).unwrap();
            assert_eq!(of_child(NAME), value);
            let inner = Variable::set(NAME, OsStr::new("inner")).unwrap();
            assert_eq!((of_child(NAME).as_str(), std::env::var(NAME).unwrap().as_str()), ("inner", "inner"));
            drop(inner);
            assert_eq!(of_child(NAME), value);
            drop(outer);
            assert_eq!(of_child(NAME), "unset");
            assert!(std::env::var_os("PATH").is_some());
        }
        assert!(Variable::set(NAME, OsStr::new("a\0b")).is_none());
    }
}
