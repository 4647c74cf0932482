# Packages made here, installed with dpkg and, from a repository in a folder, with apt; then taken away again.
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin; umask 022; cd /tmp || exit 1
make_package() { # NAME DEPENDS
    d=/tmp/build/$1; mkdir -p "$d/DEBIAN" "$d/etc/$1" "$d/usr/share/$1/sub" "$d/usr/bin"
    printf 'Package: %s\nVersion: 1.0\nArchitecture: all\nMaintainer: Nobody <nobody@example.org>\nDepends: %s\nDescription: a test\n' "$1" "$2" > "$d/DEBIAN/control"
    echo "/etc/$1/conf" > "$d/DEBIAN/conffiles"; echo "setting=1" > "$d/etc/$1/conf"
    printf '#!/bin/sh\nset -e\n[ "$1" = configure ] && echo configured >> /var/lib/%s.state; exit 0\n' "$1" > "$d/DEBIAN/postinst"; chmod 755 "$d/DEBIAN/postinst"
    printf '#!/bin/sh\nset -e\n[ "$1" = purge ] && rm -f /var/lib/%s.state; exit 0\n' "$1" > "$d/DEBIAN/postrm"; chmod 755 "$d/DEBIAN/postrm"
    for i in $(seq 100); do echo "$1 $i" > "$d/usr/share/$1/sub/file$i"; done; ln -s "sub/file1" "$d/usr/share/$1/link"; ln "$d/usr/share/$1/sub/file2" "$d/usr/share/$1/hard"
    printf '#!/bin/sh\necho hello from %s\n' "$1" > "$d/usr/bin/$1"; chmod 4755 "$d/usr/bin/$1"
    dpkg-deb --root-owner-group -Zgzip --build "$d" /tmp/repo/ > /dev/null
}
mkdir -p repo; make_package test-one 'base-files'; make_package test-two 'test-one, dpkg'; make_package test-three 'base-files'
dpkg -i repo/test-three_1.0_all.deb 2>&1 | grep -v Reading; test-three; stat -c '%n %a %U %h %s' /usr/bin/test-three /usr/share/test-three/hard /usr/share/test-three/link; dpkg -V test-three
for deb in repo/*.deb; do dpkg-deb -f "$deb"; printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' "${deb#repo/}" "$(stat -c %s "$deb")" "$(sha256sum "$deb" | cut -d' ' -f1)"; done > repo/Packages
rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/*; echo 'deb [trusted=yes] file:/tmp/repo ./' > /etc/apt/sources.list
apt-get -qq update 2>&1 | grep -v '^Reading'; apt-get -qq install -y test-two > log 2>&1 || { echo "apt failed"; cat log; }; test-one; test-two; cat /var/lib/test-*.state
dpkg -l 'test-*' | grep ^ii | awk '{ print $2, $3 }'; dpkg --audit; apt-get -qq check; echo changed >> /etc/test-one/conf; dpkg -V test-one
apt-get -qq purge -y test-one > log 2>&1 || cat log; dpkg -r test-three 2>&1 | grep -v Reading; dpkg -l 'test-*' 2>/dev/null | grep -c ^ii; ls -d /etc/test-* /usr/share/test-* /var/lib/test-* 2>&1; dpkg --get-selections | grep -c install
