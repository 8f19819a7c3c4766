use proptest::prelude::*;

use super::{
    BAD_CHUNK, BAD_CODING, BAD_LENGTH, BARE_CR, BARE_LF, BOTH, FOLDED, Fault, Framing, TWO_CODINGS, TWO_LENGTHS,
};

const GOOD: [&str; 12] = [
    "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
    "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /mcp HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\na\n\r\nb",
    "POST /mcp HTTP/1.1\r\nhost: a\r\ncontent-length:\t 0005 \r\n\r\n\r\n\r\n\n",
    "POST /mcp HTTP/1.1\r\nContent-Length: 0\r\nHost: a\r\n\r\n",
    "POST /mcp HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nGET /\r\n0\r\n\r\n",
    "POST /mcp HTTP/1.1\r\nTRANSFER-ENCODING:CHUNKED\t\r\nHost: a\r\n\r\n1;x=\"y\"\r\n\n\r\n00 ; z\r\n\r\n",
    "POST /mcp HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Sum: 1\r\nContent-Length: 7\r\n\r\n",
    "POST /mcp HTTP/1.1\r\nHost: a\r\nX-Content-Length: 9\r\nContent-Lengths: 8\r\nContent-Lengt: 7\r\n\r\n",
    "POST /mcp HTTP/1.1\r\nHost: a\r\nA-Name-Longer-Than-Every-Name-That-Matters: content-length: 9\r\n\r\n",
    "POST /mcp HTTP/1.1\r\nHost: a\r\nX: Transfer-Encoding: chunked\r\nEmpty:\r\n\r\n",
    "POST /mcp HTTP/1.1\r\nHost: a\r\nContent-Length: 27\r\n\r\nGET / HTTP/1.1\nHost: evil\n\n",
];

/// The byte before the `|` passes, the one after it does not.
const BAD: [(&str, &str); 32] = [
    (BARE_LF, "|\nGET / HTTP/1.1\r\n"),
    (BARE_LF, "\r\n|\nGET / HTTP/1.1\r\n"),
    (BARE_LF, "GET / HTTP/1.1|\nHost: a\r\n"),
    (BARE_LF, "GET / HTTP/1.1\r\nHost: a|\nX: b\r\n"),
    (BARE_LF, "GET / HTTP/1.1\r\nHost: a\r\n|\n"),
    (BARE_LF, "GET / HTTP/1.1\r\nHost|\n"),
    (BARE_LF, "GET / HTTP/1.1\r\nContent-Length: 5|\n"),
    (BARE_LF, "GET / HTTP/1.1\r\nTransfer-Encoding: chunked|\n"),
    (BARE_CR, "\r|G"),
    (BARE_CR, "GET / HTTP/1.1\r|\r\n"),
    (BARE_CR, "GET / HTTP/1.1\r\nHost: a\r| b\r\n"),
    (BARE_CR, "GET / HTTP/1.1\r\nHost: a\r\n\r|\r\n"),
    (FOLDED, "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n| c\r\n"),
    (FOLDED, "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n|\t6\r\n"),
    (FOLDED, "GET / HTTP/1.1\r\n| Host: a\r\n"),
    (TWO_LENGTHS, "POST / HTTP/1.1\r\nContent-Length: 5\r\ncontent-length|: 5\r\n"),
    (TWO_LENGTHS, "POST / HTTP/1.1\r\nContent-Length: 0\r\nHost: a\r\nCONTENT-LENGTH|: 5\r\n"),
    (BAD_LENGTH, "POST / HTTP/1.1\r\nContent-Length: 5, |5\r\n"),
    (BAD_LENGTH, "POST / HTTP/1.1\r\nContent-Length:|\r\n"),
    (BAD_LENGTH, "POST / HTTP/1.1\r\nContent-Length: +5|\r\n"),
    (BAD_LENGTH, "POST / HTTP/1.1\r\nContent-Length: 99999999999999999999|\r\n"),
    (BAD_LENGTH, "POST / HTTP/1.1\r\nContent-Length: 00000000000000000000|5\r\n"),
    (TWO_CODINGS, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding|: chunked\r\n"),
    (BAD_CODING, "POST / HTTP/1.1\r\nTransfer-Encoding: xchunked|\r\n"),
    (BAD_CODING, "POST / HTTP/1.1\r\nTransfer-Encoding: gzip, |chunked\r\n"),
    (BAD_CODING, "POST / HTTP/1.1\r\nTransfer-Encoding:|\r\n"),
    (BOTH, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length|: 5\r\n"),
    (BOTH, "POST / HTTP/1.1\r\nContent-Length: 0\r\nTransfer-Encoding|: chunked\r\n"),
    (BAD_CHUNK, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n|-1\r\n"),
    (BAD_CHUNK, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx|y\r\n"),
    (BAD_CHUNK, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1000000000000000|0\r\n"),
    (BARE_LF, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y|\n\n"),
];

/// Follows the bytes in pieces, and says what is wrong at which byte of all.
fn follow(bytes: &[u8], cuts: &[usize]) -> Result<Framing, Fault> {
    let mut framing = Framing::new();
    let mut start = 0;
    for end in cuts.iter().copied().chain([bytes.len()]) {
        let end = end.clamp(start, bytes.len());
        framing.take(&bytes[start..end]).map_err(|fault| Fault { at: start + fault.at, ..fault })?;
        start = end;
    }
    Ok(framing)
}

#[test]
fn what_has_one_meaning_passes_and_ends_where_it_ends() {
    for text in GOOD {
        let framing = follow(text.as_bytes(), &[]).expect(text);
        assert_eq!(framing.state, super::State::Between, "{text:?}");
        assert!(framing.length.is_none() && !framing.is_chunked, "{text:?}");
        let end = text.len() - 1;
        let cut = follow(&text.as_bytes()[..end], &[]).expect(text);
        assert_ne!(cut.state, super::State::Between, "{text:?} without its last byte");
    }
}

#[test]
fn what_two_servers_could_read_differently_does_not() {
    for (why, marked) in BAD {
        let at = marked.find('|').expect("a mark");
        let text = marked.replacen('|', "", 1);
        let in_head = !text[..at].contains("\r\n\r\n");
        assert_eq!(follow(text.as_bytes(), &[]).err(), Some(Fault { at, in_head, why }), "{text:?}");
    }
}

proptest! {
    #[test]
    fn it_does_not_matter_how_the_bytes_are_cut(
        before in proptest::collection::vec(0..GOOD.len(), 0..4),
        last in 0..BAD.len(),
        mut cuts in proptest::collection::vec(0..600_usize, 0..12),
    ) {
        cuts.sort_unstable();
        let good: String = before.iter().map(|&index| GOOD[index]).collect();
        prop_assert!(follow(good.as_bytes(), &cuts).is_ok());
        let (why, marked) = BAD[last];
        let at = good.len() + marked.find('|').expect("a mark");
        let all = good + &marked.replacen('|', "", 1);
        let fault = follow(all.as_bytes(), &cuts).err();
        prop_assert_eq!(fault.map(|fault| (fault.at, fault.why)), Some((at, why)));
        let every_byte: Vec<usize> = (0..all.len()).collect();
        prop_assert_eq!(follow(all.as_bytes(), &every_byte).err(), fault);
    }

    #[test]
    fn any_bytes_get_the_same_verdict_whole_and_in_pieces(
        bytes in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b':'), Just(b'5'), any::<u8>()], 0..200),
        cuts in proptest::collection::vec(0..200_usize, 0..6),
        chunked in any::<bool>(),
    ) {
        let mut cuts = cuts;
        cuts.sort_unstable();
        let head = if chunked { "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" } else { "" };
        let all = [head.as_bytes(), &bytes].concat();
        prop_assert_eq!(follow(&all, &[]).err(), follow(&all, &cuts).err());
    }
}
