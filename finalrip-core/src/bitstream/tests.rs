use super::*;

/// `avcC` with one sequence and one picture parameter set of these bytes behind their types.
fn avc(profile: u8, compatible: u8, level: u8, picture_set: u8) -> Vec<u8> {
    let (sps, pps) = ([0x67, profile, compatible, level], [0x68, picture_set]);
    let mut record = vec![1, profile, compatible, level, 0xff, 0xe1, 0, 4];
    record.extend(sps);
    record.extend([1, 0, 2]);
    record.extend(pps);
    if profile >= 100 {
        record.extend([0xfd, 0xf8, 0xf8, 0]);
    }
    record
}

/// `hvcC` with a set of each kind, and a message.
fn hevc(profile: u8, tier: u8, level: u8, picture_set: u8, message: u8) -> Vec<u8> {
    let mut record = vec![1, profile | tier << 5];
    record.extend([0xff; 10]);
    record.extend([level, 0xf0, 0, 0xfc, 0xfd, 0xf8, 0xf8, 0, 0, 0x0f, 4]);
    for (kind, byte) in [(32, 1), (33, 2), (34, picture_set), (39, message)] {
        record.extend([kind, 0, 1, 0, 3, kind << 1, 1, byte]);
    }
    record
}

fn units(kinds: &[&[u8]]) -> Vec<u8> {
    kinds.iter().flat_map(|unit| (unit.len() as u32).to_be_bytes().into_iter().chain(unit.iter().copied())).collect()
}

#[test]
fn sets_are_compared_and_messages_are_not() {
    let (one, two) = (Header::read("h264", &avc(100, 0, 31, 1)), Header::read("h264", &avc(100, 0, 31, 2)));
    assert!(one.has_sets_of(&one) && !one.has_sets_of(&two) && two.travels());
    let [one, two, three] =
        [(5, 9), (5, 8), (6, 9)].map(|(set, message)| Header::read("hevc", &hevc(1, 0, 93, set, message)));
    assert!(one.has_sets_of(&two) && !one.has_sets_of(&three));
}

#[test]
fn keyframes_get_their_sets_behind_the_delimiter_and_only_once() {
    let header = Header::read("h264", &avc(100, 0, 31, 7));
    let keyframe = units(&[&[9, 0xf0], &[6, 1], &[0x65, 1, 2]]);
    let carrying = header.put_into(&keyframe).unwrap();
    assert_eq!(carrying, units(&[&[9, 0xf0], &[0x67, 100, 0, 31], &[0x68, 7], &[6, 1], &[0x65, 1, 2]]));
    assert_eq!(header.put_into(&carrying), None);
    let header = Header::read("hevc", &hevc(1, 0, 93, 5, 9));
    let carrying = header.put_into(&units(&[&[0x26, 1, 0]])).unwrap();
    assert_eq!(carrying, units(&[&[64, 1, 1], &[66, 1, 2], &[68, 1, 5], &[0x26, 1, 0]]));
    // What is no packet of units is left alone.
    assert_eq!(header.put_into(&[0, 0, 0, 9, 1]), None);
}

#[test]
fn the_files_header_covers_every_chunk() {
    let headers = [avc(77, 0x40, 30, 1), avc(100, 0, 13, 2)].map(|record| Header::read("h264", &record));
    assert_eq!(Header::of_file(&headers).unwrap()[..4], [1, 100, 0, 30]);
    let headers = [hevc(1, 1, 93, 1, 1), hevc(2, 0, 120, 1, 1)].map(|record| Header::read("hevc", &record));
    let record = Header::of_file(&headers).unwrap();
    assert_eq!((record[1], record[12]), (2 | 1 << 5, 120));
}

#[test]
fn a_sequence_header_of_av1_comes_behind_the_temporal_delimiter() {
    let sequence = [0x0a, 2, 7, 8];
    let record = |level: u8| [&[0x81, level, 0x0c, 0], &sequence[..]].concat();
    let header = Header::read("av1", &record(1));
    let frame = [0x32, 1, 5];
    assert_eq!(header.put_into(&frame).unwrap(), [&sequence[..], &frame].concat());
    let delimited = header.packet_as_encoded(&frame).unwrap();
    assert_eq!(delimited, [&[0x12, 0], &frame[..]].concat());
    let carrying = header.put_into(&delimited).unwrap();
    assert_eq!(carrying, [&[0x12, 0], &sequence[..], &frame].concat());
    assert_eq!((header.put_into(&carrying), header.packet_as_encoded(&carrying)), (None, None));
    assert_eq!(Header::of_file(&[Header::read("av1", &record(8)), header]).unwrap(), [0x81, 8, 0x0c, 0]);
}

#[test]
fn nothing_of_damaged_headers_is_believed() {
    for whole in [avc(100, 0, 31, 1), hevc(1, 0, 93, 5, 9)] {
        let codec = if whole.len() < 30 { "h264" } else { "hevc" };
        assert!(matches!(Header::read(codec, &whole), Header::Nal(_)));
        for length in 0..whole.len() - 4 {
            let header = Header::read(codec, &whole[..length]);
            assert!(!header.travels(), "{codec} of {length} bytes: {header:?}");
        }
    }
    assert_eq!(obu::sequence_header(&[0x81, 1, 2, 3, 0x0a, 0xff, 0xff]), None);
}

#[test]
fn hints_in_theoras_headers_decide_nothing() {
    let parts = |quality: u8, set: u8| {
        let first = [&[0x80][..], &[0; 36], &[quality; 3], &[quality << 2, 5]].concat();
        [first, vec![0x81, quality], vec![0x82, set]]
    };
    let encoded = |quality, set| {
        let part = |part: &Vec<u8>| [&(part.len() as u16).to_be_bytes()[..], part].concat();
        Header::read("theora", &parts(quality, set).iter().map(part).collect::<Vec<_>>().concat())
    };
    let laced = |quality, set| Header::read("theora", &[&[2, 42, 2][..], &parts(quality, set).concat()].concat());
    assert!(encoded(1, 1).has_sets_of(&laced(2, 1)) && !encoded(1, 1).has_sets_of(&laced(1, 2)));
    assert!(!encoded(1, 1).travels());
}
