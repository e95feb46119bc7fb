//! Options that crash an encoder's library under conditions that only the pictures show. What crashes it always is
//! refused with the command.

use super::command::params;

/// The release of x265 that the fault was seen in, as x265 prints it.
const X265_WITH_FAULT: &str = "HEVC encoder version 3.5";
/// What x265 prints of any release.
const X265_VERSION: &str = "HEVC encoder version ";

/// Why the encoder must not be given pictures of this depth with these options, if so. `printed` is what it said of itself
/// when it was opened; where that is silenced it may be the release with the fault.
pub(super) fn find(encoder: &str, options: &[(String, String)], (depth, printed): (u32, &[String])) -> Option<String> {
    let is_asked = options
        .iter()
        .filter(|(option, _)| params::is_list(option))
        .any(|(option, list)| params::turned_on(option, list).iter().any(|name| name == "hist-scenecut"));
    let is_mended = printed.iter().any(|line| line.contains(X265_VERSION) && !line.contains(X265_WITH_FAULT));
    (encoder == "libx265" && depth > 8 && is_asked && !is_mended).then(|| {
        "libx265 3.5 crashes with hist-scenecut at more than 8 bits: leave it out, or encode 8 bits".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_release_with_the_fault_is_kept_from_it() {
        let found = |list: &str, depth, printed: &str| {
            let options = [("x265-params".to_owned(), list.to_owned())];
            find("libx265", &options, (depth, &[printed.to_owned()])).is_some()
        };
        let (old, new) = ("x265 [info]: HEVC encoder version 3.5+1-f0c1022b6", "x265 [info]: HEVC encoder version 4.1");
        assert!(found("crf=20:hist-scenecut=1", 10, old));
        assert!(found("hist_scenecut=1", 12, ""));
        assert!(!found("hist-scenecut=1", 10, new));
        assert!(!found("hist-scenecut=1", 8, old));
        assert!(!found("hist-scenecut=0", 10, old));
        assert!(!found("no-hist-scenecut=1", 10, old));
    }
}
