# needs: gdb openssl
gdb --version | head -1; gdb -batch -ex 'print 6 * 7'
openssl speed -seconds 1 sha256 2>/dev/null | awk '/^sha256/ { print $1, NF }'
echo secret | openssl enc -aes-256-cbc -pbkdf2 -pass pass:x -S 0102030405060708 -a; openssl rand -hex 8 | wc -c; openssl dgst -sha256 /etc/passwd
