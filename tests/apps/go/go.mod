module example.test/apps

go 1.19
