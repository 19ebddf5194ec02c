#![no_main]

use blockscope_fuzz::mutation;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| blockscope_fuzz::read(bytes));

libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let mutated = mutation::mutate(&data[..size], seed, |packet, most| {
        let len = packet.len();
        packet.resize(most.max(len), 0);
        let len = libfuzzer_sys::fuzzer_mutate(packet, len, most.max(len));
        packet.truncate(len);
    });
    let len = mutated.len().min(max_size);
    data[..len].copy_from_slice(&mutated[..len]);
    len
});
