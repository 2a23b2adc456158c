"""What a request may do: access rules, decryption rules, and the pages that say no."""
