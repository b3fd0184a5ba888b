"""The readers of files under a fuzzer: what they accept must be what the formats allow, and nothing may be slow."""
