module upgrade-guard.test/node

go 1.26.0
